//! Keys, and what they do.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// A key that was pressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Control(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    Left,
    Right,
    PageUp,
    PageDown,
    Home,
    End,
}

impl Key {
    /// The key of an event of the terminal, if it has one here.
    pub(crate) fn of(event: KeyEvent) -> Option<Self> {
        if event.kind == KeyEventKind::Release {
            return None;
        }
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        Some(match event.code {
            KeyCode::Char(c) if control => Self::Control(c.to_ascii_lowercase()),
            KeyCode::Char(c) => Self::Char(c),
            KeyCode::Enter => Self::Enter,
            KeyCode::Esc => Self::Escape,
            KeyCode::Backspace => Self::Backspace,
            KeyCode::Tab => Self::Tab,
            KeyCode::BackTab => Self::BackTab,
            KeyCode::Up => Self::Up,
            KeyCode::Down => Self::Down,
            KeyCode::Left => Self::Left,
            KeyCode::Right => Self::Right,
            KeyCode::PageUp => Self::PageUp,
            KeyCode::PageDown => Self::PageDown,
            KeyCode::Home => Self::Home,
            KeyCode::End => Self::End,
            _ => return None,
        })
    }
}

/// What a key does outside of the filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Suspend,
    Redraw,
    Help,
    Tab(usize),
    NextTab,
    PreviousTab,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    Sort,
    Reverse,
    Filter,
    Clear,
    Span,
    Pause,
}

impl Action {
    pub(crate) fn of(key: Key) -> Option<Self> {
        Some(match key {
            Key::Char('q') | Key::Control('c') => Self::Quit,
            Key::Control('z') => Self::Suspend,
            Key::Control('l') => Self::Redraw,
            Key::Char('?' | 'h') => Self::Help,
            Key::Char(c @ '1'..='8') => Self::Tab(usize::try_from(c.to_digit(10)?).ok()? - 1),
            Key::Tab | Key::Right => Self::NextTab,
            Key::BackTab | Key::Left => Self::PreviousTab,
            Key::Up | Key::Char('k') => Self::Up,
            Key::Down | Key::Char('j') => Self::Down,
            Key::PageUp | Key::Control('b') => Self::PageUp,
            Key::PageDown | Key::Control('f') => Self::PageDown,
            Key::Home | Key::Char('g') => Self::First,
            Key::End | Key::Char('G') => Self::Last,
            Key::Char('s') => Self::Sort,
            Key::Char('r') => Self::Reverse,
            Key::Char('/') => Self::Filter,
            Key::Escape => Self::Clear,
            Key::Char('t') => Self::Span,
            Key::Char('p' | ' ') => Self::Pause,
            _ => return None,
        })
    }
}

/// The keys for the help on the screen.
pub(crate) const HELP: [(&str, &str); 12] = [
    ("1 ... 8", "show a table"),
    ("Tab, right, left", "show the next or previous table"),
    ("up, down, k, j", "select a row; its history is at the bottom"),
    ("PgUp, PgDn, Home, End", "select further away"),
    ("s", "sort by the next column"),
    ("r", "reverse the order"),
    ("/", "filter: rows that contain a text; Enter keeps it, Esc ends it"),
    ("t", "history of 1, 10 or 60 minutes"),
    ("p, Space", "pause"),
    ("Ctrl-L", "draw again"),
    ("?, h", "these keys"),
    ("q, Ctrl-C", "quit"),
];
