//! One page with plots and every figure, which needs no network and no other file.

use crate::latency::CurvePoint;
use crate::plan::{OnDatabase, Peer, Scenario, Target, grouped};
use crate::report::plot::{self, Line};
use crate::report::table::{
    COLUMNS, COLUMNS_OF_WORDS, cells, compared, of_scenario, scenarios, side_by_side, store_size_ratio,
};
use crate::report::{Report, Summary, or_dash, precise, warnings};
use clap::ValueEnum as _;
use std::fmt::Write as _;

const STYLE: &str = include_str!("style.css");
/// More lines than this in one plot can't be told apart.
const LINES_MAX: usize = 8;

/// All of it. Writing to a string can't fail, so the results of that are dropped.
pub fn write(report: &Report, summaries: &[Summary]) -> String {
    let mut page = String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    page += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">";
    let _ = write!(page, "<title>Cloud Dragon load test</title><style>{STYLE}</style></head><body>");
    write_head(&mut page, report, summaries);
    write_overview(&mut page, summaries);
    write_peers(&mut page, summaries);
    for scenario in scenarios(summaries) {
        write_scenario(&mut page, scenario, &of_scenario(summaries, scenario));
        if let Some(ratio) = store_size_ratio(summaries).filter(|_| scenario == Scenario::StoreSize) {
            let _ = write!(page, "<p>{}</p>", escape(&ratio));
        }
    }
    write_promises(&mut page, report);
    page + "</body></html>\n"
}

/// Text as it may stand anywhere in a page.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The colour of a target, everywhere the same.
fn colour(target: Target) -> usize {
    match target {
        Target::CloudDragon => 0,
        Target::Echo => 7,
        Target::OnDatabase(OnDatabase::OneByOne) => 4,
        Target::OnDatabase(OnDatabase::OneFrontend) => 5,
        Target::OnDatabase(OnDatabase::TwoFrontends) => 6,
        Target::Peer(Peer::Redis) => 1,
        Target::Peer(Peer::Etcd) => 2,
        Target::Peer(Peer::Postgres) => 3,
    }
}

fn write_head(page: &mut String, report: &Report, summaries: &[Summary]) {
    let _ = write!(page, "<h1>Cloud Dragon load test</h1><p>{}</p>", escape(&report.headline()));
    let command = escape(&report.command.join(" "));
    let _ = write!(page, "<p class=\"faint\"><code>cloud-dragon-loadtest {command}</code></p>");
    for failure in &report.failures {
        let _ = write!(page, "<p class=\"note bad\">FAILED {}</p>", escape(failure));
    }
    if report.failures.is_empty() {
        *page += "<p>Every answer was right, and at each end the server held what it had been told.</p>";
    }
    for warning in warnings(summaries) {
        let _ = write!(page, "<p class=\"note\">{}</p>", escape(&warning));
    }
    *page += "<nav>";
    for scenario in scenarios(summaries) {
        let name = scenario.name();
        let _ = write!(page, "<a href=\"#{name}\">{name}</a>");
    }
    *page += "<a href=\"#promises\">promises</a></nav>";
}

/// One bar.
struct Bar {
    label: String,
    value: f64,
    text: String,
    colour: usize,
}

/// Bars beside one another, the longest as long as there is room. A group has a heading of its own.
fn bars(groups: &[(String, Vec<Bar>)], scale_each: bool) -> String {
    let most_of = |bars: &[Bar]| bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
    let most_of_all = groups.iter().map(|(_, bars)| most_of(bars)).fold(0.0, f64::max);
    let mut html = String::from("<div class=\"bars\">");
    for (heading, bars) in groups {
        if !heading.is_empty() {
            let _ = write!(html, "<span class=\"gap\">{}</span>", escape(heading));
        }
        let most = if scale_each { most_of(bars) } else { most_of_all };
        for Bar { label, value, text, colour } in bars {
            // Room for the text behind the longest.
            let width = 72.0 * value / most.max(1e-9);
            let (label, text) = (escape(label), escape(text));
            let _ = write!(
                html,
                "<span>{label}</span><div><i class=\"b{colour}\" style=\"width:{width:.1}%\"></i><b>{text}</b></div>"
            );
        }
    }
    html + "</div>"
}

fn legend(targets: &[Target]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for target in targets {
        let _ = write!(html, "<li><i class=\"b{}\"></i>{}</li>", colour(*target), target.name());
    }
    html + "</ul>"
}

/// The best throughput of each scenario.
fn write_overview(page: &mut String, summaries: &[Summary]) {
    let shown = |summary: &&Summary| {
        let scenario = summary.step.scenario;
        summary.step.target == Target::CloudDragon
            && !scenario.is_at_once()
            && scenario != Scenario::HotGrowth
    };
    let bar = |scenario: Scenario| {
        let of = of_scenario(summaries, scenario).into_iter().filter(shown);
        let best = of.max_by(|one, other| one.operations_per_s.total_cmp(&other.operations_per_s))?;
        let rate = grouped(best.operations_per_s);
        let connections = grouped(best.step.parameters.connections as f64);
        Some(Bar {
            label: scenario.name(),
            value: best.operations_per_s,
            text: format!("{rate}/s ({}, {connections} connections)", best.step.label()),
            colour: colour(Target::CloudDragon),
        })
    };
    let all: Vec<Bar> = scenarios(summaries).into_iter().filter_map(bar).collect();
    if !all.is_empty() {
        *page += "<h2>Throughput by scenario</h2><p class=\"faint\">Operations a second, where each was highest. \
                  Scenarios do different work: a mixed request is 151 operations.</p>";
        let _ = write!(page, "<figure>{}</figure>", bars(&[(String::new(), all)], false));
    }
}

fn write_peers(page: &mut String, summaries: &[Summary]) {
    let pairs = side_by_side(summaries);
    if pairs.is_empty() {
        return;
    }
    *page += "<h2>Peers side by side</h2><p class=\"faint\">Units of work a second (of mixed requests, \
              operations), longer is better; of watches, milliseconds from sending the write to the last wake, shorter is better. Each group has its own scale. What each promises \
              stands at the end: work is only the same where the promise is.</p>";
    let mut groups = Vec::new();
    for (ours, theirs) in pairs {
        let (figure, less_is_better) = compared(ours);
        let connections = grouped(ours.step.parameters.connections as f64);
        let heading =
            format!("{}: {}, {connections} connections", ours.step.scenario.name(), ours.step.label());
        let bar = |summary: &&Summary| {
            let (value, _) = compared(summary);
            let times = if less_is_better { figure / value } else { value / figure };
            let unit = if less_is_better { " ms" } else { "/s" };
            let times = if summary.step.target == Target::CloudDragon {
                String::new()
            } else if less_is_better {
                format!(" (Cloud Dragon takes {times:.2} ×)")
            } else {
                format!(" ({times:.2} × Cloud Dragon)")
            };
            Bar {
                label: summary.step.target.name().to_owned(),
                value,
                text: format!("{}{unit}{times}", precise(value)),
                colour: colour(summary.step.target),
            }
        };
        groups.push((heading, std::iter::once(&ours).chain(&theirs).map(bar).collect()));
    }
    let targets: Vec<Target> = std::iter::once(Target::CloudDragon)
        .chain(Peer::value_variants().iter().map(|peer| Target::Peer(*peer)))
        .collect();
    let _ = write!(page, "<figure>{}{}</figure>", bars(&groups, true), legend(&targets));
}

fn write_scenario(page: &mut String, scenario: Scenario, summaries: &[&Summary]) {
    let (name, help) = (scenario.name(), scenario.to_possible_value());
    let help = help.and_then(|value| value.get_help().map(ToString::to_string)).unwrap_or_default();
    let _ = write!(page, "<h2 id=\"{name}\">{name}</h2><p class=\"faint\">{}.</p>", escape(&help));
    let groups = by_connections(summaries);
    if !scenario.is_at_once() {
        let bar = |summary: &&Summary| Bar {
            label: format!("{} · {}", summary.step.label(), summary.step.target.name()),
            value: summary.units_per_s,
            text: format!("{}/s", grouped(summary.units_per_s)),
            colour: colour(summary.step.target),
        };
        let groups: Vec<(String, Vec<Bar>)> =
            groups.iter().map(|(caption, some)| (caption.clone(), some.iter().map(bar).collect())).collect();
        let _ = write!(page, "<figure><figcaption>Throughput</figcaption>{}</figure>", bars(&groups, false));
    }
    *page += "<div class=\"plots\">";
    for (caption, some) in groups.iter().filter(|_| scenario != Scenario::IdleLongPolls) {
        for chunk in some.chunks(LINES_MAX) {
            let plot = plot::latencies(&chunk.iter().map(|summary| curve(summary)).collect::<Vec<_>>());
            if !plot.is_empty() {
                let _ = write!(page, "<figure><figcaption>Latency, {caption}</figcaption>{plot}</figure>");
            }
        }
    }
    for summary in summaries.iter().filter(|summary| !summary.series.is_empty()) {
        let line = |series: &crate::outcome::Series| Line {
            name: series.name.clone(),
            points: series.points.clone(),
        };
        let lines: Vec<Line> = summary.series.iter().map(line).collect();
        let label = escape(&summary.step.label());
        let _ = write!(
            page,
            "<figure><figcaption>{label}: over time</figcaption>{}</figure>",
            plot::series(&lines)
        );
    }
    *page += "</div>";
    write_rows(page, scenario, summaries);
    write_figures(page, summaries);
}

fn curve(summary: &Summary) -> (String, &[CurvePoint]) {
    (format!("{} · {}", summary.step.label(), summary.step.target.name()), &summary.curve)
}

/// Summaries that can share a plot: those of the same connections and value size.
fn by_connections<'a>(summaries: &[&'a Summary]) -> Vec<(String, Vec<&'a Summary>)> {
    let mut groups: Vec<(String, Vec<&Summary>)> = Vec::new();
    for &summary in summaries {
        let parameters = &summary.step.parameters;
        let caption =
            format!("{} connections, {} B", grouped(parameters.connections as f64), parameters.value_bytes);
        match groups.iter_mut().find(|(other, _)| *other == caption) {
            Some((_, group)) => group.push(summary),
            None => groups.push((caption, vec![summary])),
        }
    }
    groups
}

fn write_rows(page: &mut String, scenario: Scenario, summaries: &[&Summary]) {
    if scenario == Scenario::IdleLongPolls {
        return;
    }
    *page += "<div class=\"scroll\"><table><tr>";
    let class = |column: usize| if column < COLUMNS_OF_WORDS { " class=\"word\"" } else { "" };
    for (number, column) in COLUMNS.iter().enumerate() {
        let _ = write!(page, "<th{}>{column}</th>", class(number));
    }
    *page += "</tr>";
    for summary in summaries {
        *page += "<tr>";
        for (number, cell) in cells(summary).iter().enumerate() {
            let _ = write!(page, "<td{}>{}</td>", class(number), escape(cell));
        }
        *page += "</tr>";
    }
    *page += "</table></div>";
}

/// The figures that only this scenario has, turned: they are few rows and many names.
fn write_figures(page: &mut String, summaries: &[&Summary]) {
    let with: Vec<&&Summary> = summaries.iter().filter(|summary| !summary.figures.is_empty()).collect();
    let mut names: Vec<&str> = Vec::new();
    for figure in with.iter().flat_map(|summary| &summary.figures) {
        if !names.contains(&&*figure.name) {
            names.push(&figure.name);
        }
    }
    if names.is_empty() {
        return;
    }
    *page += "<div class=\"scroll\"><table><tr><th class=\"word\"></th>";
    for summary in &with {
        let connections = grouped(summary.step.parameters.connections as f64);
        let (label, target) = (escape(&summary.step.label()), summary.step.target.name());
        let _ = write!(page, "<th>{target}<br>{label}<br>{connections} connections</th>");
    }
    *page += "</tr>";
    for name in names {
        let _ = write!(page, "<tr><td class=\"word\">{}</td>", escape(name));
        for summary in &with {
            let figure = summary.figures.iter().find(|figure| figure.name == name);
            let _ = write!(page, "<td>{}</td>", or_dash(figure.map(|figure| figure.value), precise));
        }
        *page += "</tr>";
    }
    *page += "</table></div>";
}

fn write_promises(page: &mut String, report: &Report) {
    *page += "<h2 id=\"promises\">What each promises</h2><div class=\"scroll\"><table><tr><th class=\"word\">server</th>\
              <th class=\"word\">durability</th><th class=\"word\">transactions</th><th class=\"word\">differences</th></tr>";
    for promise in report.all_promises() {
        let _ = write!(
            page,
            "<tr><td class=\"word\">{}</td><td class=\"wrap\">{}</td><td class=\"wrap\">{}</td><td class=\"wrap\">{}</td></tr>",
            escape(&promise.name),
            escape(&promise.durability),
            escape(&promise.transactions),
            escape(&promise.differences)
        );
    }
    *page += "</table></div>";
}

#[cfg(test)]
mod tests {
    use crate::report::tests::report;

    #[test]
    fn a_page_stands_alone() {
        let mut report = report();
        report.failures.push("<script>".to_owned());
        let page = report.html();
        assert!(page.contains("FAILED &lt;script&gt;") && !page.contains("<script"));
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(
            page.contains("kv-write: 1 × 1, 64 B, 64 connections") && page.contains("(0.50 × Cloud Dragon)")
        );
        for tag in ["div", "figure", "table", "ul", "svg", "h2", "tr", "td", "span"] {
            let opened =
                page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
