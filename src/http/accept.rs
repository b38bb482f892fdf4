//! What a request's head says of the form of its answer.

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, IF_NONE_MATCH};

use super::refusal::Refusal;
use super::request::{Live, ShapeRequest};
use crate::limits::KNOWN_TAGS_MAX;
use crate::shape_log::Form;

/// Copied out of the head: whoever holds a header holds the 8 KiB that the connection has read it into, and
/// thousands wait for news.
pub struct Accepted {
    wanted: Form,
    /// Tags of the answers that the client has, without quotes.
    known: Box<[Box<str>]>,
}

impl Accepted {
    /// Of a request's headers.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Accepted {
        let lines = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
        let tags = lines.flat_map(|line| line.split(','));
        let tags = tags.map(|tag| tag.trim().trim_matches('"')).filter(|tag| !tag.is_empty());
        let known = tags.take(KNOWN_TAGS_MAX).map(Into::into).collect();
        Accepted { wanted: wanted(headers), known }
    }

    /// Whether the client has the answer of this tag already.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        self.known.iter().any(|known| **known == *tag.trim_matches('"'))
    }

    /// The form of an answer. JSON unless Arrow is named and JSON is not wanted more; a client that
    /// takes neither gets JSON, as it always did.
    ///
    /// # Errors
    /// Arrow is wanted of something that exists as JSON only.
    pub fn form(&self, request: &ShapeRequest) -> Result<Form, Refusal> {
        if self.wanted == Form::Json {
            return Ok(Form::Json);
        }
        if request.live == Some(Live::Events) {
            return Err(Refusal::NotAcceptable(
                "Server-sent events are JSON only: leave live_sse out, or accept text/event-stream",
            ));
        }
        if request.subset.is_some() {
            return Err(Refusal::NotAcceptable("Subsets are JSON only: accept application/json"));
        }
        Ok(self.wanted)
    }
}

fn wanted(headers: &HeaderMap) -> Form {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<(&str, f32)> = lines.flat_map(|line| line.split(',')).map(range).collect();
    let named = |name: &str| {
        let named = ranges.iter().filter(|(range, _)| range.eq_ignore_ascii_case(name));
        named.map(|(_, quality)| *quality).reduce(f32::max)
    };
    let Some(quality) = named(Form::Arrow.media_type()) else { return Form::Json };
    let json = named(Form::Json.media_type());
    let general = || named("application/*").or_else(|| named("*/*")).unwrap_or(0.0);
    // Of two that are named alike JSON wins; Arrow wins over what is not named.
    let more = json.map_or_else(|| general() > quality, |json| json >= quality);
    if quality > 0.0 && !more { Form::Arrow } else { Form::Json }
}

/// A media range and how much it is wanted; nonsense is not wanted at all.
fn range(text: &str) -> (&str, f32) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality =
        parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    let quality = quality.map_or(Some(1.0), |text| text.parse().ok());
    (name, quality.filter(|quality| (0.0..=1.0).contains(quality)).unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_tags_are_kept_than_anybody_has() {
        let mut headers = HeaderMap::new();
        headers.append(IF_NONE_MATCH, format!("{}\"a\", b", ",".repeat(100_000)).parse().unwrap());
        let accepted = Accepted::of(&headers);
        assert!(accepted.has("\"a\"") && accepted.has("b") && accepted.known.len() == 2);
        headers.append(IF_NONE_MATCH, "c,".repeat(50_000).parse().unwrap());
        assert_eq!(Accepted::of(&headers).known.len(), KNOWN_TAGS_MAX);
    }

    fn of(accept: &[&str]) -> Form {
        let mut headers = HeaderMap::new();
        for line in accept {
            headers.append(ACCEPT, line.replace('@', Form::Arrow.media_type()).parse().unwrap());
        }
        wanted(&headers)
    }

    #[test]
    fn typed_answers_are_for_those_who_name_them() {
        for accept in [
            "@",
            "APPLICATION/JSON;q=0.9, @",
            "@;q=0.5, */*;q=0.1",
            "@, */*",
            "@ ; x=y ; q=0.1",
            "text/html, @;q=0.3, application/json;q=0.2",
            "@, application/json;q=0",
            "@, application/json;q=NaN",
        ] {
            assert_eq!(of(&[accept]), Form::Arrow, "{accept}");
        }
        assert_eq!(of(&["application/json;q=0.2", "@"]), Form::Arrow);
        for accept in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "application/json, @",
            "@;q=0",
            "@;q=0.5, */*;q=0.8",
            "@;q=0.5, application/*",
            "@;q=high",
            "@;q=-1",
            "@x",
            ",;,;q=,",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/event-stream",
        ] {
            assert_eq!(of(&[accept]), Form::Json, "{accept}");
        }
        assert_eq!(of(&[]), Form::Json);
    }
}
