//! What of the tables is shown: the tab, the order, the filter, the selected row.

use crate::keys::{Action, Key};
use crate::meter::EVERY;
use crate::tables::{Row, Tab, Tables};

/// The longest filter.
const FILTER_LEN_MAX: usize = 64;

/// What of the tables is shown.
#[derive(Clone, Debug)]
pub struct View {
    pub(crate) tab: Tab,
    /// The column that each tab is sorted by, and whether the highest comes first.
    orders: [(usize, bool); Tab::ALL.len()],
    pub(crate) filter: String,
    /// Whether keys go to the filter.
    pub(crate) is_typing: bool,
    /// The key of the selected row; it stays selected wherever it is sorted to.
    selected: Option<String>,
    /// The first row on the screen.
    pub(crate) first: usize,
    /// Which of [`EVERY`].
    pub(crate) span: usize,
    pub(crate) has_help: bool,
    pub(crate) is_paused: bool,
}

impl Default for View {
    fn default() -> Self {
        Self {
            tab: Tab::Services,
            orders: Tab::ALL.map(Tab::order),
            filter: String::new(),
            is_typing: false,
            selected: None,
            first: 0,
            span: 0,
            has_help: false,
            is_paused: false,
        }
    }
}

/// What the loop must do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Draw,
    Redraw,
    Stop,
    Suspend,
}

impl View {
    /// Shows this tab.
    #[must_use]
    pub fn tab(mut self, tab: Tab) -> Self {
        self.tab = tab;
        self
    }

    /// Shows rows alone that contain this text.
    #[must_use]
    pub fn filter(mut self, filter: impl Into<String>) -> Self {
        self.filter = filter.into();
        self
    }

    /// The column that the tab is sorted by, and whether the highest comes first.
    pub(crate) fn order(&self) -> (usize, bool) {
        self.orders.get(self.number()).copied().unwrap_or_default()
    }

    fn number(&self) -> usize {
        Tab::ALL.iter().position(|tab| *tab == self.tab).unwrap_or(0)
    }

    /// The rows that are shown, in order.
    pub(crate) fn rows<'a>(&self, tables: &'a Tables) -> Vec<&'a Row> {
        let filter = self.filter.to_lowercase();
        let matches = |row: &&Row| {
            filter.is_empty()
                || row.cells.iter().any(|cell| cell.to_string().to_lowercase().contains(&filter))
        };
        let mut rows: Vec<&Row> = tables.rows(self.tab).iter().filter(matches).collect();
        let (column, is_down) = self.order();
        rows.sort_by(|a, b| {
            let order = match (a.cells.get(column), b.cells.get(column)) {
                (Some(a), Some(b)) => a.order(b),
                (a, b) => a.is_some().cmp(&b.is_some()),
            };
            let order = if is_down { order.reverse() } else { order };
            // What is wrong comes first in the order of a tab's beginning.
            let is_first = |row: &Row| !row.is_bad;
            let bad = if self.order() == self.tab.order() {
                is_first(a).cmp(&is_first(b))
            } else {
                std::cmp::Ordering::Equal
            };
            bad.then(order).then_with(|| a.key.cmp(&b.key))
        });
        rows
    }

    /// The heading and the rows that are shown, as texts.
    #[must_use]
    pub fn texts(&self, tables: &Tables) -> Vec<Vec<String>> {
        let heads = self.tab.columns().iter().map(|column| column.name.to_owned()).collect();
        let rows = self.rows(tables).into_iter();
        let texts = rows.map(|row| row.cells.iter().map(ToString::to_string).collect());
        std::iter::once(heads).chain(texts).collect()
    }

    /// Which of these rows is selected; the first, if the selected one is not there.
    pub(crate) fn selected(&self, rows: &[&Row]) -> usize {
        let selected = self.selected.as_ref();
        selected.and_then(|key| rows.iter().position(|row| row.key == *key)).unwrap_or(0)
    }

    /// Scrolls so that the selected row is among `height`.
    pub(crate) fn scroll(&mut self, rows: &[&Row], height: usize) {
        let selected = self.selected(rows);
        self.first = self.first.min(rows.len().saturating_sub(height));
        if selected < self.first {
            self.first = selected;
        } else if selected >= self.first + height {
            self.first = selected + 1 - height;
        }
    }

    fn select(&mut self, tables: &Tables, to: impl Fn(usize, usize) -> usize) {
        let rows = self.rows(tables);
        let last = rows.len().saturating_sub(1);
        let wanted = to(self.selected(&rows), last).min(last);
        self.selected = rows.get(wanted).map(|row| row.key.clone());
    }

    fn show(&mut self, number: usize) {
        if let Some(tab) = Tab::ALL.get(number % Tab::ALL.len()) {
            (self.tab, self.selected, self.first) = (*tab, None, 0);
        }
    }

    /// Does what a key asks for; `page` is how many rows are on the screen.
    pub(crate) fn key(&mut self, key: Key, tables: &Tables, page: usize) -> Then {
        if self.is_typing {
            return self.typed(key);
        }
        let action = Action::of(key);
        if std::mem::take(&mut self.has_help) {
            return if action == Some(Action::Quit) { Then::Stop } else { Then::Draw };
        }
        let Some(action) = action else { return Then::Draw };
        let columns = self.tab.columns().len();
        let (number, (column, is_down)) = (self.number(), self.order());
        match action {
            Action::Quit => return Then::Stop,
            Action::Suspend => return Then::Suspend,
            Action::Redraw => return Then::Redraw,
            Action::Help => self.has_help = true,
            Action::Tab(number) => self.show(number),
            Action::NextTab => self.show(number + 1),
            Action::PreviousTab => self.show(number + Tab::ALL.len() - 1),
            Action::Up => self.select(tables, |at, _| at.saturating_sub(1)),
            Action::Down => self.select(tables, |at, _| at + 1),
            Action::PageUp => self.select(tables, |at, _| at.saturating_sub(page)),
            Action::PageDown => self.select(tables, |at, _| at + page),
            Action::First => self.select(tables, |_, _| 0),
            Action::Last => self.select(tables, |_, last| last),
            Action::Sort => self.set_order(((column + 1) % columns, is_down)),
            Action::Reverse => self.set_order((column, !is_down)),
            Action::Filter => self.is_typing = true,
            Action::Clear => self.filter.clear(),
            Action::Span => self.span = (self.span + 1) % EVERY.len(),
            Action::Pause => self.is_paused = !self.is_paused,
        }
        Then::Draw
    }

    fn set_order(&mut self, order: (usize, bool)) {
        let number = self.number();
        if let Some(own) = self.orders.get_mut(number) {
            *own = order;
        }
    }

    fn typed(&mut self, key: Key) -> Then {
        match key {
            Key::Enter => self.is_typing = false,
            Key::Escape | Key::Control('c') => {
                self.is_typing = false;
                self.filter.clear();
            }
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(c) if self.filter.len() < FILTER_LEN_MAX => self.filter.push(c),
            _ => {}
        }
        Then::Draw
    }
}
