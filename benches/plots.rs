//! Plots of the figures that other benches have left as JSON: one SVG for each file there is.
//!
//! Reads the folder `BENCH_JSON`, writes to the folder `BENCH_PLOTS`. `benches/run plots` calls it.

// In a bench a panic is the report.
#![allow(clippy::unwrap_used, missing_docs, dead_code)]

mod figures;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

const SIZE: (u32, u32) = (960, 540);
const LEGEND_WIDTH: u32 = 240;
const TEXT: RGBColor = RGBColor(40, 44, 52);
const GRID: RGBColor = RGBColor(222, 226, 230);

/// Told apart by people who see few colours, too; after the last one lines are dashed.
const COLOURS: [RGBColor; 8] = [
    RGBColor(0, 90, 160),
    RGBColor(204, 85, 0),
    RGBColor(0, 130, 95),
    RGBColor(170, 60, 130),
    RGBColor(90, 160, 210),
    RGBColor(150, 110, 0),
    RGBColor(110, 110, 110),
    RGBColor(190, 30, 45),
];

/// What is drawn: lines over the number of shapes, both axes logarithmic.
struct Chart {
    file: &'static str,
    title: &'static str,
    y: &'static str,
    /// Points by the name of their line.
    lines: BTreeMap<String, Vec<(f64, f64)>>,
}

/// Makes a chart of a part's figures.
type Draw = fn(&Value) -> Chart;

const KINDS: [(&str, Draw); 3] =
    [("filter", filter), ("scale", scale), ("propagation", propagation)];

fn main() {
    let plots = std::env::var_os("BENCH_PLOTS").map(PathBuf::from);
    let (Some(folder), Some(plots)) = (figures::folder(), plots) else {
        println!("plots: BENCH_JSON and BENCH_PLOTS say from where and where to");
        return;
    };
    std::fs::create_dir_all(&plots).unwrap();
    let mut drawn = 0;
    for (part, chart) in KINDS {
        let Ok(text) = std::fs::read_to_string(folder.join(format!("{part}.json"))) else {
            continue;
        };
        let path = chart(&serde_json::from_str(&text).unwrap()).draw(&plots);
        println!("plots: {}", path.display());
        drawn += 1;
    }
    assert!(drawn > 0, "there are no figures in {}", folder.display());
}

fn filter(figures: &Value) -> Chart {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for one in figures.as_array().unwrap() {
        let point = (number(one, "/shapes"), number(one, "/changes_per_second"));
        lines.entry(text(one, "template")).or_default().push(point);
    }
    let title = "Finding the shapes that a change concerns, one thread";
    Chart { file: "filter.svg", title, y: "changes a second", lines }
}

fn scale(figures: &Value) -> Chart {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for one in figures.as_array().unwrap() {
        let of = short(number(one, "/transaction_rows"));
        let point = (number(one, "/shapes"), 100.0 * number(one, "/ratio/median"));
        lines.entry(format!("{}, by {of}", text(one, "template"))).or_default().push(point);
    }
    let title = "From WAL to readable logs, in transactions of 1,000 rows and of one";
    Chart { file: "scale.svg", title, y: "% of pg_recvlogical's rate", lines }
}

fn propagation(figures: &Value) -> Chart {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    // As every real Postgres is set.
    let durable = |one: &&Value| one["fsync"] == "on";
    for one in figures.as_array().unwrap().iter().filter(durable) {
        for (who, name) in [("client", "waiting client"), ("bare", "bare replication")] {
            for quantile in ["p50", "p99"] {
                let place = format!("/turns/{who}/{quantile}_ms/median");
                let point = (number(one, "/shapes"), number(one, &place));
                lines.entry(format!("{name}, {quantile}")).or_default().push(point);
            }
        }
    }
    let title = "From sending one write to having it, Postgres with fsync=on";
    Chart { file: "propagation.svg", title, y: "milliseconds", lines }
}

fn number(one: &Value, place: &str) -> f64 {
    one.pointer(place).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {place} in {one}"))
}

fn text(one: &Value, name: &str) -> String {
    one[name].as_str().unwrap_or_else(|| panic!("no {name} in {one}")).to_owned()
}

/// A number as people say it.
fn short(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{} M", n / 1e6),
        n if n >= 1e4 => format!("{} k", n / 1e3),
        n if n >= 1e3 => format!("{},{:03}", (n / 1e3) as u64, n as u64 % 1_000),
        n => format!("{}", (n * 1e6).round() / 1e6),
    }
}

/// What has room for all values on a logarithmic axis.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut low, mut high) = (f64::INFINITY, 0.0f64);
    for value in values.filter(|value| *value > 0.0) {
        (low, high) = (low.min(value), high.max(value));
    }
    low / 1.5..high * 1.5
}

impl Chart {
    /// Draws it; returns the file.
    fn draw(mut self, folder: &Path) -> PathBuf {
        for points in self.lines.values_mut() {
            points.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        let mut svg = String::new();
        self.paint(SVGBackend::with_string(&mut svg, SIZE).into_drawing_area());
        let path = folder.join(self.file);
        std::fs::write(&path, svg).unwrap();
        path
    }

    fn paint(&self, root: DrawingArea<SVGBackend, Shift>) {
        root.fill(&WHITE).unwrap();
        let heading = ("sans-serif", 20).into_font().color(&TEXT);
        let root = root.titled(self.title, heading).unwrap();
        let (left, right) = root.split_horizontally(SIZE.0 - LEGEND_WIDTH);
        let points = || self.lines.values().flatten();
        let x = range(points().map(|point| point.0));
        let y = range(points().map(|point| point.1));
        let mut chart = ChartBuilder::on(&left)
            .margin(10)
            .x_label_area_size(46)
            .y_label_area_size(76)
            .build_cartesian_2d(x.log_scale(), y.log_scale())
            .unwrap();
        chart
            .configure_mesh()
            .x_desc("shapes")
            .y_desc(self.y)
            .x_label_formatter(&|x| short(*x))
            .y_label_formatter(&|y| short(*y))
            .axis_desc_style(("sans-serif", 15).into_font().color(&TEXT))
            .label_style(("sans-serif", 13).into_font().color(&TEXT))
            .axis_style(TEXT)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .draw()
            .unwrap();
        // The legend in the order of the lines' ends.
        let mut lines: Vec<(&String, &Vec<(f64, f64)>)> = self.lines.iter().collect();
        lines.sort_by(|one, other| other.1.last().unwrap().1.total_cmp(&one.1.last().unwrap().1));
        for (number, (name, points)) in lines.into_iter().enumerate() {
            let (colour, dashed) = look(number);
            let points = || points.iter().copied();
            let line = colour.stroke_width(2);
            match dashed {
                true => chart.draw_series(DashedLineSeries::new(points(), 6, 4, line)).unwrap(),
                false => chart.draw_series(LineSeries::new(points(), line)).unwrap(),
            };
            let dots = points().map(|point| Circle::new(point, 4, dot(colour, dashed)));
            chart.draw_series(dots).unwrap();
            entry(&right, number, name);
        }
        root.present().unwrap();
    }
}

/// Colour of a line, and whether it is dashed.
fn look(number: usize) -> (RGBColor, bool) {
    (COLOURS[number % COLOURS.len()], number / COLOURS.len() % 2 == 1)
}

fn dot(colour: RGBColor, hollow: bool) -> ShapeStyle {
    if hollow { colour.stroke_width(2) } else { colour.filled() }
}

/// A line of the legend.
fn entry(area: &DrawingArea<SVGBackend, Shift>, number: usize, name: &str) {
    let (colour, dashed) = look(number);
    let y = 24 + 22 * number as i32;
    let ends: &[(i32, i32)] = if dashed { &[(4, 12), (20, 28)] } else { &[(4, 28)] };
    for (from, to) in ends {
        let line = PathElement::new([(*from, y), (*to, y)], colour.stroke_width(2));
        area.draw(&line).unwrap();
    }
    area.draw(&Circle::new((16, y), 4, dot(colour, dashed))).unwrap();
    let style = ("sans-serif", 14).into_font().color(&TEXT);
    area.draw_text(name, &style, (38, y - 7)).unwrap();
}
