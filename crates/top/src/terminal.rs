//! The live view on a terminal, which is as it was afterwards: also after a panic or a signal.

use crate::frame::Scene;
use crate::keys::Key;
use crate::machine::Machine;
use crate::spark::Charset;
use crate::status::Status;
use crate::tables::Tables;
use crate::view::{Then, View};
use adit_device::process::{SignalMask, SignalReader, block_all_signals};
use adit_packet::units::duration;
use adit_runtime::panics::failpoint;
use ratatui_core::layout::Rect;
use ratatui_core::terminal::{Terminal, TerminalOptions, Viewport};
use ratatui_core::text::Text;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::{Hide, Show};
use ratatui_crossterm::crossterm::event::{self, Event};
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use rustix::process::{Signal, getpid, kill_process};
use std::io::{self, Stdout, stdout};
use std::panic::{set_hook, take_hook};
use std::sync::Arc;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

/// How the view looks.
#[derive(Clone, Debug)]
pub struct Look {
    /// The characters that the terminal can show.
    pub charset: Charset,
    /// Whether it has colours.
    pub has_color: bool,
    /// The time between two turns.
    pub interval: Duration,
}

/// Why the view has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By its user.
    Quit,
    /// By a signal of this number.
    Signal(u8),
}

/// How long a key may wait for a turn, and a turn for a key.
const PATIENCE: Duration = Duration::from_millis(100);

/// The size of a terminal that does not know its own, such as a serial line.
const SIZE: (u16, u16) = (80, 24);

/// The screen of a moment as plain lines: after two turns, of which the rates are.
pub fn once(
    source: &mut dyn FnMut() -> Machine,
    mut view: View,
    look: &Look,
    (width, height): (usize, usize),
) -> Vec<String> {
    let (status, tables) = turns(source, look.interval);
    let every = format!("{:#}", duration(look.interval));
    let scene = Scene {
        status: &status,
        tables: &tables,
        charset: look.charset,
        has_color: false,
        every: &every,
    };
    let (lines, _) = scene.draw(&mut view, width, height);
    lines.into_iter().map(|line| line.to_string().trim_end().to_owned()).collect()
}

/// The state after two turns.
fn turns(source: &mut dyn FnMut() -> Machine, interval: Duration) -> (Status, Tables) {
    let mut tables = Tables::default();
    let first = source();
    tables.update(&first, &Status::of(None, &first));
    std::thread::sleep(interval);
    let second = source();
    let status = Status::of(Some(&first), &second);
    tables.update(&second, &status);
    (status, tables)
}

/// Runs the view on the terminal of standard output until its user or a signal ends it.
///
/// # Errors
/// Those of the terminal.
pub fn run(
    source: impl FnMut() -> Machine + Send + 'static,
    mut view: View,
    look: &Look,
) -> io::Result<Ended> {
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [Signal::TERM, Signal::HUP, Signal::INT, Signal::QUIT] {
        let number = number.as_raw();
        signal_hook::flag::register_usize(
            number,
            Arc::clone(&signal),
            usize::try_from(number).unwrap_or(0),
        )?;
    }
    // Before the thread is started: it blocks them as well.
    let mut stops = Stops::new()?;
    let turns = collect(source, look.interval)?;
    let mut screen = Screen::enter()?;
    let mut state =
        (Status { ok: true, problems: Vec::new(), services: Vec::new() }, Tables::default());
    let mut before: Option<Machine> = None;
    let every = format!("{:#}", duration(look.interval));
    let (mut is_due, mut page) = (true, 1);
    loop {
        let ended = signal.load(Ordering::Relaxed);
        if ended != 0 {
            return Ok(Ended::Signal(u8::try_from(ended).unwrap_or(0)));
        }
        match stops.read() {
            Some(Signal::TSTP) => screen.suspend(&mut stops)?,
            // After SIGSTOP, which no program sees: the shell has changed the terminal.
            Some(_) => screen.take_again()?,
            None => {}
        }
        match turns.try_recv() {
            Ok(now) if !view.is_paused => {
                failpoint("top");
                state.0 = Status::of(before.as_ref(), &now);
                state.1.update(&now, &state.0);
                (before, is_due) = (Some(now), true);
            }
            Ok(_) | Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("the thread that asks the services has ended"));
            }
        }
        if std::mem::take(&mut is_due) {
            let (status, tables) = (&state.0, &state.1);
            let (charset, has_color) = (look.charset, look.has_color);
            let scene = Scene { status, tables, charset, has_color, every: &every };
            page = screen.draw(scene, &mut view)?;
        }
        if !event::poll(PATIENCE)? {
            continue;
        }
        is_due = true;
        match event::read()? {
            Event::Key(event) => {
                let Some(key) = Key::of(event) else { continue };
                match view.key(key, &state.1, page) {
                    Then::Draw => {}
                    Then::Redraw => screen.redraw()?,
                    Then::Stop => return Ok(Ended::Quit),
                    Then::Suspend => screen.suspend(&mut stops)?,
                }
            }
            Event::Resize(..) => screen.redraw()?,
            _ => {}
        }
    }
}

/// Asks for the state at every turn, on a thread of its own: a service that does not answer must not hold up keys.
fn collect(
    mut source: impl FnMut() -> Machine + Send + 'static,
    interval: Duration,
) -> io::Result<Receiver<Machine>> {
    let (sender, receiver) = sync_channel(1);
    let work = move || {
        loop {
            let start = Instant::now();
            if sender.send(source()).is_err() {
                return;
            }
            std::thread::sleep(interval.saturating_sub(start.elapsed()));
        }
    };
    std::thread::Builder::new().name("collect".to_owned()).spawn(work)?;
    Ok(receiver)
}

/// Whether the terminal is ours, and in which state must be undone.
static IS_OURS: AtomicBool = AtomicBool::new(false);

/// The terminal, in raw mode on its alternate screen.
struct Screen(Terminal<CrosstermBackend<Stdout>>);

impl Screen {
    fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = take_hook();
            set_hook(Box::new(move |panic| {
                // First, so that the report stays on the screen.
                leave();
                report(panic);
            }));
        });
        take()?;
        blank().map(Self).inspect_err(|_| leave())
    }

    fn draw(&mut self, scene: Scene<'_>, view: &mut View) -> io::Result<usize> {
        let mut page = 1;
        self.0.draw(|frame| {
            let area = frame.area();
            let (lines, rows) = scene.draw(view, area.width.into(), area.height.into());
            page = rows;
            frame.render_widget(Text::from(lines), area);
        })?;
        Ok(page)
    }

    fn redraw(&mut self) -> io::Result<()> {
        self.0 = blank()?;
        Ok(())
    }

    /// Stops as other programs do at Ctrl-Z, and goes on when the shell wants it.
    fn suspend(&mut self, stops: &mut Stops) -> io::Result<()> {
        leave();
        stops.stop()?;
        take()?;
        self.redraw()
    }

    /// Takes the terminal from its state of now.
    fn take_again(&mut self) -> io::Result<()> {
        leave();
        take()?;
        self.redraw()
    }
}

/// Stops of the process by job control: SIGTSTP gives the terminal back first, SIGCONT takes it again.
struct Stops {
    /// The signals that were blocked before.
    before: SignalMask,
    reader: SignalReader,
}

impl Stops {
    fn new() -> io::Result<Self> {
        let before = block_all_signals()?;
        before.restore()?;
        Ok(Self { before, reader: Self::block()? })
    }

    fn block() -> io::Result<SignalReader> {
        SignalReader::new(&[Signal::TSTP, Signal::CONT])
    }

    /// The signal that came, if there is one.
    fn read(&self) -> Option<Signal> {
        self.reader.read().map(|received| received.signal)
    }

    /// Stops the process until SIGCONT. In a job that no shell can continue, the kernel does nothing.
    fn stop(&mut self) -> io::Result<()> {
        kill_process(getpid(), Signal::TSTP)?;
        // The default action, on this thread: the other one blocks the signal.
        self.before.restore()?;
        self.reader = Self::block()?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        leave();
    }
}

/// An empty screen of the size of the terminal. `Terminal::clear` would ask the terminal for its cursor, and fail if a
/// slow line brings no answer in time.
fn blank() -> io::Result<Terminal<CrosstermBackend<Stdout>>> {
    execute!(stdout(), Clear(ClearType::All))?;
    let options = TerminalOptions { viewport: Viewport::Fixed(size()) };
    Terminal::with_options(CrosstermBackend::new(stdout()), options)
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    IS_OURS.store(true, Ordering::SeqCst);
    execute!(stdout(), EnterAlternateScreen, Hide)
}

/// Gives the terminal back, once.
fn leave() {
    if IS_OURS.swap(false, Ordering::SeqCst) {
        // If the terminal has gone, there is nothing to give back.
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// The size of the terminal.
fn size() -> Rect {
    let found = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok();
    let found = found.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let (width, height) = found.map_or(SIZE, |size| (size.ws_col, size.ws_row));
    Rect::new(0, 0, width, height)
}
