//! The live view: what is drawn, of what was last heard. Draws anything on any size of terminal.

use std::collections::VecDeque;

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Borders, Cell, Padding, Paragraph, Row, Sparkline, Table},
};

use super::status::{Busy, Route, Status, millis, number, part, uptime};

/// Points of the curve at most: as many as a wide terminal has columns.
const CURVE_MAX: usize = 500;

/// Columns of a terminal on which not everything has room.
const NARROW: u16 = 84;

/// What routes are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Sort {
    #[default]
    Rate,
    Slowest,
    Errors,
    Name,
}

impl Sort {
    pub(crate) fn next(self) -> Self {
        match self {
            Sort::Rate => Sort::Slowest,
            Sort::Slowest => Sort::Errors,
            Sort::Errors => Sort::Name,
            Sort::Name => Sort::Rate,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Sort::Rate => "requests",
            Sort::Slowest => "p99",
            Sort::Errors => "errors",
            Sort::Name => "name",
        }
    }

    fn apply(self, routes: &mut [Route]) {
        match self {
            Sort::Rate => routes.sort_by(|a, b| b.requests_per_s.total_cmp(&a.requests_per_s)),
            Sort::Slowest => routes.sort_by(|a, b| b.p99_ms.unwrap_or(0.0).total_cmp(&a.p99_ms.unwrap_or(0.0))),
            Sort::Errors => routes.sort_by(|a, b| b.errors_per_s.total_cmp(&a.errors_per_s)),
            Sort::Name => routes.sort_by(|a, b| a.name.as_str().cmp(b.name.as_str())),
        }
    }
}

/// Everything the view is drawn from.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) url: String,
    status: Option<Status>,
    /// Why the last question had no answer.
    gone: Option<String>,
    /// Requests a second, the latest last.
    curve: VecDeque<u64>,
    pub(crate) sort: Sort,
    pub(crate) paused: bool,
}

impl View {
    pub(crate) fn new(url: String) -> Self {
        Self { url, ..Self::default() }
    }

    pub(crate) fn heard(&mut self, status: Result<Status, String>) {
        match status {
            Ok(status) => {
                if self.curve.len() == CURVE_MAX {
                    self.curve.pop_front();
                }
                self.curve.push_back(status.traffic.requests_per_s.round() as u64);
                (self.status, self.gone) = (Some(status), None);
            }
            Err(why) => self.gone = Some(why),
        }
    }

    pub(crate) fn draw(&self, frame: &mut Frame<'_>) {
        let [head, figures, routes, lists, foot] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(6),
            Constraint::Fill(3),
            Constraint::Fill(2),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        self.draw_head(frame, head);
        self.draw_foot(frame, foot);
        let Some(status) = &self.status else { return };
        self.draw_figures(frame, figures, status);
        self.draw_routes(frame, routes, status);
        // Ids are longer than codes.
        let thirds = [Constraint::Fill(2), Constraint::Fill(3), Constraint::Fill(3)];
        let [rejects, keys, accounts] = Layout::horizontal(thirds).areas(lists);
        let of = status.rejects.iter().map(|r| [r.code.as_str().to_owned(), number(r.per_s), r.total.to_string()]);
        list(frame, rejects, "Refused", ["code", "/s", "total"], of.collect());
        let busy = |b: &Busy| [b.id.as_str().to_owned(), b.per_s.map_or_else(|| "-".into(), number), b.today.to_string()];
        list(frame, keys, "Busiest keys", ["key", "/s", "today"], status.busiest.keys.iter().map(busy).collect());
        list(frame, accounts, "Busiest accounts", ["account", "/s", "today"], status.busiest.accounts.iter().map(busy).collect());
    }

    fn draw_head(&self, frame: &mut Frame<'_>, area: Rect) {
        let badge = |text: String, color| Span::styled(format!(" {text} "), Style::new().fg(Color::Black).bg(color).bold());
        let (state, about) = match (&self.gone, &self.status) {
            (Some(why), _) => (badge(why.clone(), Color::Red), String::new()),
            (None, None) => (badge("asking".into(), Color::Gray), String::new()),
            (None, Some(status)) => {
                let (state, well) = status.state();
                let about =
                    format!(" {} up {}, revision {}", status.version.as_str(), uptime(status.uptime_s), status.snapshot.revision);
                (badge(state.to_owned(), if well { Color::Green } else { Color::Yellow }), about)
            }
        };
        let line = Line::from(vec!["clearway ".bold(), state, about.into()]);
        frame.render_widget(Paragraph::new(line), area);
        let shown = u16::try_from(self.url.chars().count()).unwrap_or(u16::MAX);
        if area.width > 70 + shown {
            frame.render_widget(Paragraph::new(self.url.as_str().dim()).alignment(Alignment::Right), area);
        }
    }

    fn draw_figures(&self, frame: &mut Frame<'_>, area: Rect, status: &Status) {
        let traffic = &status.traffic;
        let [left, right] = Layout::horizontal([Constraint::Length(34), Constraint::Fill(1)]).areas(area);
        let alarm = |n: f64, color| if n > 0.0 { Style::new().fg(color).bold() } else { Style::new() };
        let figures = [
            ("requests/s", number(traffic.requests_per_s), Style::new().bold()),
            ("rejects/s", number(traffic.rejects_per_s), alarm(traffic.rejects_per_s, Color::Yellow)),
            ("errors/s", number(traffic.errors_per_s), alarm(traffic.errors_per_s, Color::Red)),
            ("p50, p99", format!("{}, {}", millis(traffic.p50_ms), millis(traffic.p99_ms)), Style::new()),
            ("in flight", format!("{} on {} connections", traffic.in_flight, traffic.connections), Style::new()),
        ];
        let lines = figures.map(|(name, value, style)| Line::from(vec![format!("{name:11}").dim(), Span::styled(value, style)]));
        frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::new().padding(Padding::top(1))), left);
        let block = Block::new().padding(Padding::new(1, 0, 1, 0));
        let room = usize::from(block.inner(right).width);
        let latest: Vec<u64> = self.curve.iter().skip(self.curve.len().saturating_sub(room)).copied().collect();
        frame.render_widget(Sparkline::default().block(block).data(&latest).style(Style::new().fg(Color::Cyan)), right);
    }

    fn draw_routes(&self, frame: &mut Frame<'_>, area: Rect, status: &Status) {
        let mut routes = status.routes.clone();
        self.sort.apply(&mut routes);
        // On a narrow terminal a name is worth more than a further percentile.
        let columns: &[usize] = if area.width < NARROW { &[0, 1, 5] } else { &[0, 1, 2, 3, 4, 5, 6] };
        let rows = routes.iter().map(|route| {
            let of = |n| part(n, route.requests_per_s);
            let alarm = if route.errors_per_s > 0.0 { Style::new().fg(Color::Red) } else { Style::new() };
            let cells = [
                right(number(route.requests_per_s)),
                right(of(route.errors_per_s)).style(alarm),
                right(of(route.rejects_per_s)),
                right(millis(route.p50_ms)),
                right(millis(route.p90_ms)),
                right(millis(route.p99_ms)),
                right(millis(route.upstream_p99_ms)),
            ];
            let cells = columns.iter().map(|column| cells[*column].clone());
            Row::new(std::iter::once(Cell::from(route.name.as_str())).chain(cells))
        });
        let words = ["requests/s", "errors", "rejects", "p50", "p90", "p99", "upstream p99"];
        let head = columns.iter().map(|column| right(words[*column].to_owned()));
        let widths = columns.iter().map(|column| Constraint::Length([10, 9, 9, 9, 9, 9, 12][*column]));
        let widths = [Constraint::Fill(1)].into_iter().chain(widths);
        let more = status.traffic.routes.saturating_sub(status.routes.len() as u64);
        let title = if more > 0 { format!("Routes ({more} more)") } else { "Routes".into() };
        let table = Table::new(rows, widths)
            .header(Row::new(std::iter::once(Cell::from("route")).chain(head)).style(DIM))
            .block(titled(&title));
        frame.render_widget(table, area);
    }

    fn draw_foot(&self, frame: &mut Frame<'_>, area: Rect) {
        let paused = if self.paused { "paused" } else { "pause" };
        let line = Line::from(vec![
            "q".bold(),
            " quit  ".dim(),
            "p".bold(),
            format!(" {paused}  ").dim(),
            "s".bold(),
            format!(" routes by {}", self.sort.as_str()).dim(),
        ]);
        frame.render_widget(Paragraph::new(line), area);
    }
}

const DIM: Style = Style::new().add_modifier(Modifier::DIM);

fn titled(title: &str) -> Block<'_> {
    Block::new().borders(Borders::TOP).border_style(DIM).title(title.bold())
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).alignment(Alignment::Right))
}

/// A name and two numbers a row; one where the names need the room.
fn list(frame: &mut Frame<'_>, area: Rect, title: &str, head: [&str; 3], rows: Vec<[String; 3]>) {
    const NUMBERS: usize = 7 + 8 + 3;
    let longest = rows.iter().map(|[name, ..]| name.chars().count()).max().unwrap_or(0);
    let narrow = usize::from(area.width) < longest + NUMBERS;
    let cells = |[name, rate, total]: [String; 3]| {
        let total = (!narrow).then(|| right(total));
        Row::new([Cell::from(name), right(rate)].into_iter().chain(total))
    };
    let widths = [Constraint::Fill(1), Constraint::Length(7)].into_iter().chain((!narrow).then_some(Constraint::Length(8)));
    let table = Table::new(rows.into_iter().map(cells), widths)
        .header(cells(head.map(str::to_owned)).style(DIM))
        .block(titled(title).padding(Padding::right(1)));
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::*;

    fn status() -> Status {
        serde_json::from_value(json!({
            "version": "1.0", "uptime_s": 61, "snapshot": {"revision": 7, "connected": false},
            "traffic": {"requests_per_s": 120.0, "p99_ms": 12.5, "in_flight": 3, "connections": 4, "routes": 2},
            "routes": [{"name": "orders", "requests_per_s": 120.0, "p99_ms": 1.0}, {"name": "slow", "requests_per_s": 1.0, "p99_ms": 900.0}],
            "rejects": [{"code": "key_missing", "per_s": 3.0, "total": 40}],
            "busiest": {"keys": [{"id": "key_busy", "today": 12, "per_s": 2.0}], "accounts": [{"id": "acc_busy", "today": 12}]},
        }))
        .unwrap()
    }

    fn drawn(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| view.draw(frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let cells = buffer.content().chunks(usize::from(width));
        cells.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()).collect()
    }

    #[test]
    fn the_view_shows_rates_routes_refusals_and_who_asks_most() {
        let mut view = View::new("http://127.0.0.1:9090".into());
        view.heard(Ok(status()));
        let text = drawn(&view, 110, 30).join("\n");
        for word in
            ["serving without its control plane", "120", "12.5 ms", "orders", "key_missing", "key_busy", "acc_busy", "revision 7"]
        {
            assert!(text.contains(word), "{word} is not in\n{text}");
        }
        view.heard(Err("connection refused".into()));
        let text = drawn(&view, 110, 30).join("\n");
        assert!(text.contains("connection refused") && text.contains("orders"), "the last figures stay:\n{text}");
    }

    #[test]
    fn routes_are_in_the_order_that_was_asked_for() {
        let mut view = View::new(String::new());
        view.heard(Ok(status()));
        let first = |view: &View| {
            let lines = drawn(view, 110, 30);
            let of = |name: &str| lines.iter().position(|line| line.starts_with(name)).unwrap();
            if of("orders") < of("slow") { "orders" } else { "slow" }
        };
        assert_eq!(first(&view), "orders");
        view.sort = view.sort.next();
        assert_eq!((view.sort, first(&view)), (Sort::Slowest, "slow"));
    }

    #[test]
    fn names_stay_when_room_is_short() {
        let mut view = View::new(String::new());
        view.heard(Ok(status()));
        let text = drawn(&view, 60, 20).join("\n");
        assert!(text.contains("orders  ") && text.contains("p99") && !text.contains("p90"), "{text}");
    }

    #[test]
    fn a_terminal_of_any_size_is_drawn_on() {
        let mut view = View::new("http://a.example".into());
        for (width, height) in [(1, 1), (10, 3), (40, 8), (300, 80)] {
            drawn(&view, width, height);
            view.heard(Ok(status()));
            drawn(&view, width, height);
        }
    }
}
