//! Charts as inline SVG: bars stacked by day, or lines. A screen reader and a hover get every number from the titles, and
//! everybody from the table below the chart.

#![allow(clippy::float_arithmetic)] // coordinates of a drawing; no money is counted here

use std::fmt::Write as _;

use time::Date;

use super::escape;

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 40.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 20.0;
/// Lines across, beside the one at zero.
const TICKS: f64 = 4.0;

/// A chart over days.
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    /// What it says in one line.
    pub(super) note: String,
    pub(super) form: Form,
    pub(super) days: Vec<Date>,
    pub(super) series: Vec<Series<'a>>,
    /// A number as the table and the titles say it.
    pub(super) say: fn(i64) -> String,
    /// A number as the axis says it.
    pub(super) scale: fn(i64) -> String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A day's numbers on top of each other.
    Bars,
    /// A line a series; days without a number are gaps.
    Lines,
}

/// One row of numbers, a number a day.
pub(super) struct Series<'a> {
    pub(super) name: &'a str,
    /// Class of its colour: `a`, `b`, `c`, or `bad`.
    pub(super) color: &'a str,
    pub(super) numbers: Vec<Option<i64>>,
}

impl Chart<'_> {
    /// The figure.
    pub(super) fn html(&self) -> String {
        let legend: String = self
            .series
            .iter()
            .map(|series| format!("<span><i class=\"{}\"></i>{}</span>", series.color, escape(series.name)))
            .collect();
        format!(
            "<figure><h2>{}</h2><p>{}</p><div class=\"legend\">{legend}</div>{}{}</figure>\n",
            escape(self.title),
            escape(&self.note),
            self.svg(),
            self.table()
        )
    }

    fn svg(&self) -> String {
        if self.series.iter().all(|series| series.numbers.iter().all(|number| number.unwrap_or_default() == 0)) {
            return "<p class=\"empty\">Nothing in these days.</p>".to_owned();
        }
        let step = nice_step(self.highest());
        let top = step * (as_number(self.highest()) / step).ceil().max(1.0);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP);
        let mut svg =
            format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", escape(self.title));
        let mut tick = 0.0;
        while tick <= top {
            let at = y(tick);
            // A tick is a whole number: steps are, from 1 on.
            #[allow(clippy::cast_possible_truncation)]
            let label = (self.scale)(tick as i64);
            write!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{WIDTH}\"/>").unwrap_or_default();
            write!(svg, "<text x=\"{}\" y=\"{:.1}\" class=\"right\">{label}</text>", LEFT - 4.0, at + 3.5)
                .unwrap_or_default();
            tick += step;
        }
        svg.push_str(&self.dates());
        svg.push_str(&match self.form {
            Form::Bars => self.bars(&y),
            Form::Lines => self.lines(&y),
        });
        svg.push_str("</svg>");
        svg
    }

    /// The middle of a day's column.
    fn x(&self, day: usize) -> f64 {
        LEFT + (as_count(day) + 0.5) * self.column()
    }

    fn column(&self) -> f64 {
        (WIDTH - LEFT) / as_count(self.days.len().max(1))
    }

    /// The highest number, or sum of a day's.
    fn highest(&self) -> i64 {
        let of_day =
            |day: usize| self.series.iter().filter_map(move |series| series.numbers.get(day).copied().flatten());
        let highest = (0..self.days.len()).map(|day| match self.form {
            Form::Bars => of_day(day).sum(),
            Form::Lines => of_day(day).max().unwrap_or_default(),
        });
        highest.max().unwrap_or_default()
    }

    /// Dates below: the first, the last and some between.
    fn dates(&self) -> String {
        let last = self.days.len().saturating_sub(1);
        let every = (self.days.len() / 4).max(1);
        let shown = (0..=last).filter(|day| (last - day).is_multiple_of(every) && *day > 0);
        shown
            .map(|day| {
                let date = self.days[day];
                let class = if day == last { "right" } else { "middle" };
                let x = if day == last { WIDTH } else { self.x(day) };
                let text = format!("{:02}.{:02}", date.day(), u8::from(date.month()));
                format!("<text x=\"{x:.1}\" y=\"{}\" class=\"{class}\">{text}</text>", HEIGHT - 5.0)
            })
            .collect()
    }

    fn bars(&self, y: &dyn Fn(f64) -> f64) -> String {
        let width = (self.column() * 0.72).max(1.0);
        let mut svg = String::new();
        for (day, date) in self.days.iter().enumerate() {
            let mut below = 0;
            for series in &self.series {
                let number = series.numbers.get(day).copied().flatten().unwrap_or_default().max(0);
                if number == 0 {
                    continue;
                }
                let (from, until) = (y(as_number(below)), y(as_number(below + number)));
                // What is there can be seen, however small it is.
                let height = (from - until).max(0.8);
                write!(
                    svg,
                    "<rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{date} {}: {}</title></rect>",
                    series.color,
                    self.x(day) - width / 2.0,
                    from - height,
                    escape(series.name),
                    (self.say)(number)
                )
                .unwrap_or_default();
                below += number;
            }
        }
        svg
    }

    fn lines(&self, y: &dyn Fn(f64) -> f64) -> String {
        let mut svg = String::new();
        for series in &self.series {
            let mut path = String::new();
            let mut is_down = false;
            let mut dots = String::new();
            for (day, number) in series.numbers.iter().enumerate() {
                let Some(number) = number else {
                    is_down = false;
                    continue;
                };
                let (x, y) = (self.x(day), y(as_number(*number)));
                write!(path, "{}{x:.1} {y:.1}", if is_down { 'L' } else { 'M' }).unwrap_or_default();
                is_down = true;
                let said = format!("{} {}: {}", self.days[day], escape(series.name), (self.say)(*number));
                write!(
                    dots,
                    "<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2\"><title>{said}</title></circle>",
                    series.color
                )
                .unwrap_or_default();
            }
            write!(svg, "<path class=\"line {}\" d=\"{path}\"/>{dots}", series.color).unwrap_or_default();
        }
        svg
    }

    fn table(&self) -> String {
        let head: String = self.series.iter().map(|series| format!("<th>{}</th>", escape(series.name))).collect();
        let mut rows = String::new();
        for (day, date) in self.days.iter().enumerate() {
            let numbers = self.series.iter().map(|series| series.numbers.get(day).copied().flatten());
            let cells: String =
                numbers.map(|number| format!("<td>{}</td>", number.map_or_else(String::new, self.say))).collect();
            write!(rows, "<tr><th>{date}</th>{cells}</tr>").unwrap_or_default();
        }
        format!(
            "<details><summary>Numbers</summary><div class=\"scroll\"><table><tr><th></th>{head}</tr>{rows}</table></div></details>"
        )
    }
}

fn as_count(count: usize) -> f64 {
    as_number(i64::try_from(count).unwrap_or(i64::MAX))
}

/// Close enough for a drawing.
#[allow(clippy::cast_precision_loss)]
fn as_number(number: i64) -> f64 {
    number as f64
}

/// 1, 2 or 5 times a power of ten, so that some lines lie below the highest number.
fn nice_step(highest: i64) -> f64 {
    let rough = (as_number(highest) / TICKS).max(1.0);
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough).unwrap_or(10.0);
    factor * power
}

/// `950`, `12k`, `1.5M`.
pub(super) fn short(number: i64) -> String {
    let tenths = |unit: i64, name: &str| {
        let tenths = number / (unit / 10);
        if tenths % 10 == 0 || tenths >= 1_000 {
            format!("{}{name}", tenths / 10)
        } else {
            format!("{}.{}{name}", tenths / 10, tenths % 10)
        }
    };
    match number {
        ..1_000 => number.to_string(),
        1_000..1_000_000 => tenths(1_000, "k"),
        1_000_000..1_000_000_000 => tenths(1_000_000, "M"),
        _ => tenths(1_000_000_000, "G"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_has_round_numbers() {
        for (highest, step) in [(0, 1.0), (1, 1.0), (4, 1.0), (5, 2.0), (37, 10.0), (1_000, 500.0), (41_000, 20_000.0)]
        {
            assert!((nice_step(highest) - step).abs() < f64::EPSILON * step, "{highest}: {}", nice_step(highest));
        }
        for (number, text) in
            [(0, "0"), (999, "999"), (1_500, "1.5k"), (20_000, "20k"), (1_200_000, "1.2M"), (3_000_000_000, "3G")]
        {
            assert_eq!(short(number), text);
        }
    }
}
