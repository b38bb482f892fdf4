//! The words that dates and times are made of.

/// A word that dates are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Month(i64),
    Weekday,
    /// AM, or with `true` PM.
    Half(bool),
    /// AD, or with `true` BC.
    Era(bool),
    /// `at`, `on`.
    Filler,
    /// `T` before a time.
    TimeFollows,
    /// `J` before a Julian day.
    JulianFollows,
    /// `allballs`: midnight in UTC.
    Midnight,
    Infinity,
    NegativeInfinity,
    Epoch,
    /// `now`, `today` and their kin.
    Clock,
    /// Words that Postgres knows and we do not take: unit letters, `dst`.
    Other,
}

/// A word of Postgres' own, other than the names of zones.
pub(super) fn word(text: &str) -> Option<Word> {
    const MONTHS: [&str; 12] = [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
    ];
    let month = MONTHS.iter().position(|name| *name == text || name[..3] == *text);
    if let Some(month) = month {
        return Some(Word::Month(month as i64 + 1));
    }
    Some(match text {
        "sept" => Word::Month(9),
        "mon" | "monday" | "tue" | "tues" | "tuesday" | "wed" | "weds" | "wednesday" | "thu"
        | "thur" | "thurs" | "thursday" | "fri" | "friday" | "sat" | "saturday" | "sun"
        | "sunday" => Word::Weekday,
        "am" => Word::Half(false),
        "pm" => Word::Half(true),
        "ad" => Word::Era(false),
        "bc" => Word::Era(true),
        "at" | "on" => Word::Filler,
        "t" => Word::TimeFollows,
        "j" | "jd" | "julian" => Word::JulianFollows,
        "allballs" => Word::Midnight,
        "infinity" => Word::Infinity,
        "-infinity" => Word::NegativeInfinity,
        "epoch" => Word::Epoch,
        "now" | "today" | "tomorrow" | "yesterday" => Word::Clock,
        "d" | "dow" | "doy" | "dst" | "h" | "isodow" | "isoyear" | "m" | "mm" | "s" | "y" => {
            Word::Other
        }
        _ => return None,
    })
}

/// Names of UTC that no setting of the server gives another meaning.
pub(super) fn is_utc(text: &str) -> bool {
    matches!(text, "utc" | "gmt" | "z" | "zulu" | "ut" | "uct")
}
