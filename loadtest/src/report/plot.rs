//! Line plots as SVG that stands in a page: colours come from the page's style, so that they follow its light
//! or dark scheme. Small enough to need no library.

use crate::latency::CurvePoint;
use crate::report::precise;
use std::fmt::Write as _;

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;
/// Line colours that the style has: more lines than these begin anew.
const COLOURS: usize = 8;

/// One line of a plot.
pub struct Line {
    /// For the legend.
    pub name: String,
    /// Where it goes, in the units of the axes.
    pub points: Vec<(f64, f64)>,
}

/// An axis: what lies at its ends, and what is written along it.
struct Axis {
    from: f64,
    to: f64,
    ticks: Vec<(f64, String)>,
    title: &'static str,
}

impl Axis {
    fn share(&self, at: f64) -> f64 {
        ((at - self.from) / (self.to - self.from).max(1e-9)).clamp(0.0, 1.0)
    }

    fn x(&self, at: f64) -> f64 {
        LEFT + self.share(at) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, at: f64) -> f64 {
        HEIGHT - BOTTOM - self.share(at) * (HEIGHT - TOP - BOTTOM)
    }
}

/// Distributions of latencies: each nine has the same room, and so has each power of ten of the time.
pub fn latencies(curves: &[(String, &[CurvePoint])]) -> String {
    let lines: Vec<Line> = curves
        .iter()
        .filter(|(_, curve)| !curve.is_empty())
        .map(|(name, curve)| {
            let points = curve.iter().map(|point| (nines(point.share), point.us.max(1.0).log10()));
            Line { name: name.clone(), points: points.collect() }
        })
        .collect();
    let all = || lines.iter().flat_map(|line| &line.points);
    let ends = |(low, high): (f64, f64), at: f64| (low.min(at), high.max(at));
    let nines_max = all().map(|point| point.0).fold(1.0, f64::max);
    let (low, high) = all().map(|point| point.1).fold((f64::MAX, f64::MIN), ends);
    if low > high {
        return String::new();
    }
    let x = Axis {
        from: 0.0,
        to: nines_max,
        ticks: [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999_999]
            .iter()
            .map(|share| (nines(*share), format!("{} %", trimmed(share * 100.0))))
            .filter(|(at, _)| *at <= nines_max + 1e-9)
            .collect(),
        title: "share of all that were no slower",
    };
    let (from, to) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let mut decades = Vec::new();
    let mut decade = from;
    while decade <= to {
        decades.push((decade, time(10_f64.powf(decade))));
        decade += 1.0;
    }
    plot(&lines, &x, &Axis { from, to, ticks: decades, title: "latency" })
}

/// Figures over time, from zero up.
pub fn series(lines: &[Line]) -> String {
    let all = || lines.iter().flat_map(|line| &line.points);
    let x = linear(all().map(|point| point.0).fold(1.0, f64::max), "seconds");
    let y = linear(all().map(|point| point.1).fold(1.0, f64::max), "MiB");
    plot(lines, &x, &y)
}

/// How many nines a share has: 0.9 has one, 0.99 two.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

/// A time given in µs.
fn time(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{us:.0} µs"),
        us if us < 1e6 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.0} s", us / 1e6),
    }
}

fn trimmed(number: f64) -> String {
    format!("{number:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn linear(most: f64, title: &'static str) -> Axis {
    let step = 10_f64.powf((most / 4.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * step).into_iter().find(|step| most / step <= 6.0);
    let step = step.unwrap_or(most);
    let steps = (most / step).ceil();
    let mut ticks = Vec::new();
    let mut number = 0.0;
    while number <= steps {
        ticks.push((number * step, precise(number * step)));
        number += 1.0;
    }
    Axis { from: 0.0, to: steps * step, ticks, title }
}

/// Writing to a string can't fail, so the results of that are dropped.
fn plot(lines: &[Line], x: &Axis, y: &Axis) -> String {
    let mut svg = format!(r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#, y.title);
    let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM);
    for (at, label) in &y.ticks {
        let at = y.y(*at);
        let _ = write!(svg, r#"<line class="grid" x1="{left}" x2="{right}" y1="{at:.1}" y2="{at:.1}"/>"#);
        let _ =
            write!(svg, r#"<text class="tick end" x="{:.1}" y="{:.1}">{label}</text>"#, left - 6.0, at + 4.0);
    }
    for (at, label) in &x.ticks {
        let at = x.x(*at);
        let _ = write!(svg, r#"<line class="grid" x1="{at:.1}" x2="{at:.1}" y1="{top}" y2="{bottom}"/>"#);
        // The first and the last must not be cut off.
        let anchor = if at > right - 20.0 { "end" } else { "middle" };
        let _ =
            write!(svg, r#"<text class="tick {anchor}" x="{at:.1}" y="{:.1}">{label}</text>"#, bottom + 16.0);
    }
    let middle = f64::midpoint(left, right);
    let _ = write!(
        svg,
        r#"<text class="tick middle" x="{middle:.1}" y="{:.1}">{}</text>"#,
        HEIGHT - 6.0,
        x.title
    );
    for (number, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|(at_x, at_y)| format!("{:.1},{:.1}", x.x(*at_x), y.y(*at_y))).collect();
        let _ =
            write!(svg, r#"<polyline class="line s{}" points="{}"/>"#, number % COLOURS, points.join(" "));
    }
    svg += r#"</svg><ul class="legend">"#;
    for (number, line) in lines.iter().enumerate() {
        let _ = write!(
            svg,
            r#"<li><i class="b{}"></i>{}</li>"#,
            number % COLOURS,
            super::html::escape(&line.name)
        );
    }
    svg + "</ul>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;
    use std::time::Duration;

    #[test]
    fn plots_have_every_line_and_stay_inside() {
        let latencies_of = |us: u64| (1..=1000).map(|n| Duration::from_micros(n * us)).collect::<Latencies>();
        let (fast, slow) = (latencies_of(1).curve(), latencies_of(100).curve());
        let svg = latencies(&[("fast <1".to_owned(), &fast), ("slow".to_owned(), &slow)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("fast &lt;1") && svg.contains("99 %") && svg.contains("100 µs"), "{svg}");
        assert_eq!(latencies(&[("none".to_owned(), &[])]), "");
        for number in svg.split("points=\"").skip(1).flat_map(|rest| rest.split('"').next()) {
            for point in number.split(' ') {
                let (x, y) = point.split_once(',').unwrap();
                assert!((0.0..=WIDTH).contains(&x.parse().unwrap()), "{point}");
                assert!((0.0..=HEIGHT).contains(&y.parse().unwrap()), "{point}");
            }
        }
    }

    #[test]
    fn ticks_are_round() {
        let labels = |most| linear(most, "").ticks.into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(20.0), ["0", "5.00", "10.0", "15.0", "20.0"]);
        assert_eq!(labels(130.0).last().unwrap(), "150");
    }
}
