//! A terminal: a pty, and what a program draws on it.

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// A program on a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keys: File,
    /// The program's side, which outlives the program.
    pub(crate) tty: OwnedFd,
    output: Receiver<Vec<u8>>,
    pub(crate) screen: vt100::Parser,
}

/// What of its settings programs change and must give back.
pub(crate) fn modes(tty: &OwnedFd) -> String {
    let Termios { input_modes, output_modes, control_modes, local_modes, .. } =
        tcgetattr(tty).unwrap();
    format!("{input_modes:?} {output_modes:?} {control_modes:?} {local_modes:?}")
}

impl Terminal {
    /// Runs the command on a terminal of this width and height; of 0, it does not know its size.
    pub(crate) fn run(mut command: Command, width: u16, height: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let tty = rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&tty, size).unwrap();
        let end = || tty.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        let mut reader = File::from(master.try_clone().unwrap());
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if sender.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let (width, height) = if width == 0 { (80, 24) } else { (width, height) };
        let screen = vt100::Parser::new(height.try_into().unwrap(), width.try_into().unwrap(), 0);
        Self { child, keys: File::from(master), tty, output, screen }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Gives the terminal another size.
    pub(crate) fn resize(&mut self, width: u16, height: u16) {
        self.lines();
        let screen = self.screen.screen_mut();
        screen.set_size(height.try_into().unwrap(), width.try_into().unwrap());
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.tty, size).unwrap();
    }

    /// The lines on the screen now.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        while let Ok(bytes) = self.output.try_recv() {
            self.screen.process(&bytes);
        }
        self.screen.screen().contents().lines().map(str::to_owned).collect()
    }

    /// Waits until the screen is as wanted; its lines.
    pub(crate) fn wait(&mut self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = std::time::Instant::now();
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                return lines;
            }
            let text = lines.join("\n");
            assert!(start.elapsed() < crate::world::PATIENCE, "{what}: not on the screen:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let mut status = None;
        crate::world::wait_for("the program ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        // What it wrote last.
        std::thread::sleep(Duration::from_millis(100));
        self.lines();
        status.unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
