//! The screen: lines of styled text, as many as it has.
//!
//! ```text
//! title, problems     what is wrong stands on every tab
//! tabs
//! table               >! marks the selected row, and those with something wrong
//! history             of the selected row; of a service its problems, with cause and remedy
//! keys
//! ```

use crate::cell::{Cell, bits_text};
use crate::columns::{self, LABEL, cut, fit, wrapped};
use crate::keys::HELP;
use crate::meter::EVERY;
use crate::spark::{Charset, spark};
use crate::status::{Problem, Status};
use crate::tables::{Column, Row, Tab, Tables};
use crate::view::View;
use adit_service::text::clean;
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::text::Line;

/// The smallest screen; what does not fit on a smaller one is cut.
const WIDTH_MIN: usize = 40;
const HEIGHT_MIN: usize = 10;
/// As many problems stand below the title.
const PROBLEMS_MAX: usize = 3;
/// Lines of the history.
const PANE: usize = 4;
/// The marks before a row.
const MARK: usize = 2;
/// Spaces between columns.
const GAP: usize = 2;
/// A text is not cut to less.
const TEXT_MIN: usize = 6;
/// The maximum behind a history.
const MAXIMUM: usize = 18;

/// What a screen is drawn from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) status: &'a Status,
    pub(crate) tables: &'a Tables,
    pub(crate) charset: Charset,
    /// Whether colours show what the marks say as well.
    pub(crate) has_color: bool,
    /// The time between two turns, for the title.
    pub(crate) every: &'a str,
}

impl Scene<'_> {
    /// The screen of this size; it scrolls the view to the selected row. Also returns how many rows it has.
    pub(crate) fn draw(
        self,
        view: &mut View,
        width: usize,
        height: usize,
    ) -> (Vec<Line<'static>>, usize) {
        let (width, height) = (width.max(WIDTH_MIN), height.max(HEIGHT_MIN));
        let mut lines = vec![self.title(view, width)];
        lines.extend(self.problems(width));
        lines.push(tabs(view, width));
        if view.has_help {
            lines.push(self.rule(width));
            let help = HELP.iter().map(|(keys, what)| format!("  {keys:<23} {what}"));
            lines.extend(help.map(|line| Line::raw(cut(&line, width))));
            lines.resize(height - 1, Line::default());
            lines.push(Line::raw("any key: back"));
            return (lines, 1);
        }
        let rows = view.rows(self.tables);
        let selected = rows.get(view.selected(&rows)).copied();
        let mut pane = self.pane(view, selected, width);
        // On a low screen the table comes first.
        pane.truncate(height.saturating_sub(lines.len() + 4));
        let room = height.saturating_sub(lines.len() + pane.len() + 3).max(1);
        view.scroll(&rows, room);
        lines.extend(self.table(view, &rows, width, room));
        lines.resize(height.saturating_sub(pane.len() + 1), Line::default());
        lines.extend(pane);
        lines.push(Line::raw(cut(&keys(view, rows.len(), room), width)));
        lines.truncate(height);
        (lines, room)
    }

    fn rule(self, width: usize) -> Line<'static> {
        let rule: String = std::iter::repeat_n(self.charset.rule(), width).collect();
        Line::styled(rule, Style::new().add_modifier(Modifier::DIM))
    }

    fn bad(self) -> Style {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        if self.has_color { bold.fg(Color::Red) } else { bold }
    }

    fn title(self, view: &View, width: usize) -> Line<'static> {
        let (services, problems) = (self.status.services.len(), self.status.problems.len());
        let many = |count: usize, noun: &str| match count {
            0 => format!("no {noun}s"),
            1 => format!("1 {noun}"),
            count => format!("{count} {noun}s"),
        };
        let left =
            format!("adit top: {}, {}", many(services, "service"), many(problems, "problem"));
        let right =
            if view.is_paused { "PAUSED".to_owned() } else { format!("every {}", self.every) };
        let gap = width.saturating_sub(columns::width(&left) + right.len());
        let style = Style::new().add_modifier(Modifier::BOLD);
        Line::styled(cut(&format!("{left}{:gap$}{right}", ""), width), style)
    }

    fn problems(self, width: usize) -> Vec<Line<'static>> {
        let problems = &self.status.problems;
        let mut lines: Vec<Line<'static>> = problems
            .iter()
            .take(PROBLEMS_MAX)
            .map(|problem| Line::styled(cut(&format!("! {}", text(problem)), width), self.bad()))
            .collect();
        if problems.len() > PROBLEMS_MAX {
            let more = problems.len() - PROBLEMS_MAX;
            lines.push(Line::styled(format!("! and {more} more: 1 Services"), self.bad()));
        }
        lines
    }

    fn table(self, view: &View, rows: &[&Row], width: usize, room: usize) -> Vec<Line<'static>> {
        let (column, is_down) = view.order();
        let columns = view.tab.columns();
        let arrow = self.charset.arrows()[usize::from(is_down)];
        let heads: Vec<String> =
            columns
                .iter()
                .enumerate()
                .map(|(at, head)| {
                    if at == column {
                        format!("{}{arrow}", head.name)
                    } else {
                        head.name.to_owned()
                    }
                })
                .collect();
        let widths = widths(columns, &heads, rows, width.saturating_sub(MARK));
        let shown = |cells: &mut dyn Iterator<Item = (String, bool)>| {
            let mut line = String::new();
            for ((cell, is_right), width) in cells.zip(&widths) {
                let Some(width) = *width else { continue };
                line += &" ".repeat(if line.is_empty() { 0 } else { GAP });
                line += &fit(&cell, width, is_right);
            }
            line
        };
        let is_right = |at: usize| {
            let cell = |row: &&Row| row.cells.get(at).is_some_and(Cell::is_number);
            rows.iter().any(cell) || rows.is_empty() && at + 2 >= columns.len()
        };
        let rights: Vec<bool> = (0..columns.len()).map(is_right).collect();
        let head = shown(&mut heads.iter().cloned().zip(rights.iter().copied()));
        let style = Style::new().add_modifier(Modifier::UNDERLINED);
        let mut lines =
            vec![self.rule(width), Line::styled(cut(&format!("  {head}"), width), style)];
        if rows.is_empty() {
            let what =
                if view.filter.is_empty() { "nothing here" } else { "no row contains the filter" };
            lines.push(Line::raw(format!("  {what}")));
        }
        let selected = view.selected(rows);
        for (at, row) in rows.iter().enumerate().skip(view.first).take(room) {
            let cells = row.cells.iter().map(ToString::to_string).zip(rights.iter().copied());
            let marks = format!(
                "{}{}",
                if at == selected { '>' } else { ' ' },
                if row.is_bad { '!' } else { ' ' }
            );
            let mut style = if row.is_bad { self.bad() } else { Style::new() };
            if at == selected {
                style = style.add_modifier(Modifier::REVERSED);
            }
            let line = format!("{marks}{}", shown(&mut { cells }));
            lines.push(Line::styled(fit(&line, width, false), style));
        }
        lines
    }

    /// What is known of the selected row: its history, or of a service its problems.
    fn pane(self, view: &View, row: Option<&Row>, width: usize) -> Vec<Line<'static>> {
        let mut lines = vec![self.rule(width)];
        let name =
            row.and_then(|row| row.cells.get(1)).map(ToString::to_string).unwrap_or_default();
        let of_row = |problem: &&Problem| clean(&problem.service) == name;
        if view.tab == Tab::Services
            && let Some(problem) = self.status.problems.iter().find(of_row)
        {
            let finding = &problem.finding;
            let what = text(problem);
            let texts = [
                (finding.code.as_str(), what.as_str()),
                ("cause:", &finding.cause),
                ("help:", &finding.remedy),
            ];
            for (label, text) in texts {
                lines.extend(wrapped(label, &clean(text), width).into_iter().map(Line::raw));
            }
            return lines;
        }
        let history = row.and_then(|row| {
            let [first, second] = row.lines?;
            let key = (view.tab, row.key.clone());
            Some(([first, second, "drops"], self.tables.meter.history(&key, view.span)?))
        });
        if let Some((names, values)) = history {
            let bars = width.saturating_sub(LABEL + MAXIMUM + 1);
            for (at, (name, values)) in names.into_iter().zip(values).enumerate() {
                if name.is_empty() {
                    continue;
                }
                let most = values.iter().copied().fold(0.0, f64::max);
                let bars = spark(&values, most, bars, self.charset);
                let most =
                    if at == 2 { format!("{}/s", Cell::PerSecond(most)) } else { bits_text(most) };
                lines.push(Line::raw(cut(&format!("{name:<LABEL$}{bars} max {most}"), width)));
            }
        }
        lines.resize(PANE, Line::default());
        lines
    }
}

/// `wg0 c3RhcnRv: no answer for 23 s`.
fn text(problem: &Problem) -> String {
    let places = [&problem.service, &problem.finding.object];
    let place: Vec<&str> =
        places.into_iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    clean(&match place.as_slice() {
        [] => problem.finding.message.clone(),
        place => format!("{}: {}", place.join(" "), problem.finding.message),
    })
}

/// The tabs in one line; brackets stand around that which is shown.
fn tabs(view: &View, width: usize) -> Line<'static> {
    let mut line = String::new();
    let mut before = false;
    for (number, tab) in Tab::ALL.into_iter().enumerate() {
        let is_shown = tab == view.tab;
        line.push(if is_shown {
            '['
        } else if before {
            ']'
        } else {
            ' '
        });
        line += &format!("{} {}", number + 1, tab.name());
        before = is_shown;
    }
    line.push(if before { ']' } else { ' ' });
    Line::raw(cut(&line, width))
}

fn keys(view: &View, count: usize, room: usize) -> String {
    if view.is_typing {
        return format!("filter: {}_", clean(&view.filter));
    }
    let span = EVERY.map(|every| every.as_secs()).get(view.span).copied().unwrap_or(1);
    let last = count.min(view.first + room);
    let first = if count == 0 { 0 } else { view.first + 1 };
    let mut line = format!(
        "q quit  ? keys  s sort  r reverse  / filter  t {span} min  {first}-{last} of {count}"
    );
    if !view.filter.is_empty() {
        line += &format!("  filter: {}", clean(&view.filter));
    }
    line
}

/// The width of each column, `None` if it is left out: as wide as what is in it, as far as all fit.
fn widths(columns: &[Column], heads: &[String], rows: &[&Row], width: usize) -> Vec<Option<usize>> {
    let mut widths: Vec<Option<usize>> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            let cells = rows.iter().filter_map(|row| row.cells.get(at));
            let least = columns::width(head).max(if cells.clone().any(Cell::is_number) {
                TEXT_MIN
            } else {
                0
            });
            Some(cells.map(|cell| columns::width(&cell.to_string())).fold(least, usize::max))
        })
        .collect();
    let total = |widths: &[Option<usize>]| {
        let shown = widths.iter().flatten();
        shown.clone().sum::<usize>() + GAP * shown.count().saturating_sub(1)
    };
    for rank in [1, 2] {
        if total(&widths) > width {
            let extra = widths.iter_mut().zip(columns).filter(|(_, column)| column.rank == rank);
            extra.for_each(|(width, _)| *width = None);
        }
    }
    // Then the widest column gives way, until all are short. The last texts of a row explain the others.
    while total(&widths) > width {
        let longest = widths.iter_mut().flatten().max_by_key(|width| **width);
        match longest {
            Some(width) if *width > TEXT_MIN => *width -= 1,
            _ => break,
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Key;
    use crate::tables::tests::busy;
    use crate::view::Then;

    fn screen(view: &mut View, charset: Charset, width: usize, height: usize) -> Vec<String> {
        let [first, second] = busy();
        let mut tables = Tables::default();
        tables.update(&first, &Status::of(None, &first));
        let status = Status::of(Some(&first), &second);
        tables.update(&second, &status);
        let scene =
            Scene { status: &status, tables: &tables, charset, has_color: false, every: "1 s" };
        let (lines, _) = scene.draw(view, width, height);
        lines.iter().map(|line| line.to_string().trim_end().to_owned()).collect()
    }

    #[test]
    fn a_silent_peer_stands_on_every_screen() {
        for tab in Tab::ALL {
            for (width, height) in [(80, 24), (40, 10), (200, 60)] {
                let lines = screen(&mut View::default().tab(tab), Charset::Ascii, width, height);
                assert_eq!(lines.len(), height, "{tab:?}\n{}", lines.join("\n"));
                assert!(lines.iter().all(|line| line.chars().count() <= width), "{lines:#?}");
                assert!(lines.iter().all(|line| line.is_ascii()), "{lines:#?}");
                assert!(lines[1].starts_with("! office-vpn c3RhcnRv: no answer"), "{lines:#?}");
            }
        }
    }

    #[test]
    fn the_screen_of_peers_is_calm() {
        let lines = screen(&mut View::default().tab(Tab::Peers), Charset::Unicode, 80, 24);
        let golden = include_str!("../tests/peers.txt");
        assert_eq!(lines.join("\n"), golden.trim_end_matches('\n'));
    }

    #[test]
    fn keys_choose_what_is_shown() {
        let mut view = View::default();
        let press = |view: &mut View, keys: &[Key]| {
            for key in keys {
                assert_eq!(view.key(*key, &Tables::default(), 10), Then::Draw);
            }
        };
        press(&mut view, &[Key::Char('5')]);
        let shown = |view: &mut View, text: &str| {
            screen(view, Charset::Ascii, 80, 24).iter().any(|line| line.contains(text))
        };
        assert!(shown(&mut view, "[5 Peers]") && shown(&mut view, "wg0"));
        let filter: Vec<Key> = "/office".chars().map(Key::Char).chain([Key::Enter]).collect();
        press(&mut view, &filter);
        assert!(!shown(&mut view, "  wg0") && shown(&mut view, "office-vpn  c3Rh"));
        assert!(shown(&mut view, "filter: office"));
        press(&mut view, &[Key::Escape, Key::Char('s'), Key::Char('r')]);
        assert!(shown(&mut view, "ENDPOINTv") && shown(&mut view, "  wg0"));
        press(&mut view, &[Key::Char('?')]);
        assert!(shown(&mut view, "Ctrl-L") && !shown(&mut view, "ENDPOINT"));
        press(&mut view, &[Key::Char('x')]);
        let shell = [Key::Char('t'), Key::Char('p'), Key::Tab, Key::BackTab, Key::End, Key::Home];
        press(&mut view, &shell);
        assert!(view.is_paused && view.span == 1 && view.tab == Tab::Peers);
        assert_eq!(view.key(Key::Char('q'), &Tables::default(), 10), Then::Stop);
    }
}
