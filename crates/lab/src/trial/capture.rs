//! Recordings of all that nodes send and receive.

use adit_device::Netns;
use adit_runtime::format::pcapng::{self, Interface, LinkType, Meta};
use adit_runtime::record::error::writer;
use adit_service::error::{Error, Result};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How often a thread looks whether it must stop.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of one recording: a test that fails at a gigabit a second leaves no full disk.
const LEN_MAX: usize = 64 << 20;

/// Recordings into a folder; without one, none.
#[derive(Debug, Default)]
pub(super) struct Captures {
    folder: Option<PathBuf>,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    path: PathBuf,
    must_stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<()>>,
}

impl Captures {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), running: Vec::new() }
    }

    pub(super) fn begin<'a>(
        &mut self,
        nodes: impl Iterator<Item = (&'a str, &'a Netns)>,
        title: &str,
    ) -> Result<bool> {
        let Some(folder) = &self.folder else { return Ok(false) };
        fs::create_dir_all(folder)
            .map_err(|error| Error::io("create", folder.display(), &error))?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
        let title: String = title.chars().map(|c| if is_plain(c) { c } else { '-' }).collect();
        let title = title.get(..title.len().min(80)).unwrap_or_default();
        for (node, namespace) in nodes {
            let path = folder.join(format!("{title}-{node}.pcapng"));
            let failed = |error: io::Error| Error::io("record", path.display(), &error);
            let socket = namespace.run(open).map_err(failed)?.map_err(failed)?;
            let file = BufWriter::new(File::create(&path).map_err(failed)?);
            let must_stop = Arc::new(AtomicBool::new(false));
            let (stop, name) = (Arc::clone(&must_stop), node.to_owned());
            let thread = thread::spawn(move || record(&socket, file, &name, &stop));
            self.running.push(Running { path, must_stop, thread });
        }
        Ok(true)
    }

    pub(super) fn end(&mut self, keep: bool) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for running in self.running.drain(..) {
            running.must_stop.store(true, Ordering::Relaxed);
            let path = running.path;
            if let Ok(Err(error)) = running.thread.join() {
                return Err(Error::io("write", path.display(), &error));
            }
            if keep {
                paths.push(path);
            } else {
                fs::remove_file(&path)
                    .map_err(|error| Error::io("delete", path.display(), &error))?;
            }
        }
        Ok(paths)
    }
}

/// A socket that receives what all interfaces send and receive: it is bound to none.
fn open() -> io::Result<OwnedFd> {
    let all = NonZeroU32::new(u32::from(0x0003_u16.to_be())).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::PACKET, SocketType::RAW, flags, all)?)
}

fn record(
    socket: &OwnedFd,
    mut file: BufWriter<File>,
    node: &str,
    must_stop: &AtomicBool,
) -> io::Result<()> {
    let mut block = Vec::new();
    pcapng::section_header(&mut block, &writer());
    let interface = Interface {
        name: node.to_owned(),
        link_type: LinkType::Ethernet,
        snap_len: 262_144,
        filter: None,
    };
    pcapng::interface_description(&mut block, &interface);
    let mut bytes = vec![0; 1 << 17];
    let mut written = 0;
    loop {
        file.write_all(&block)?;
        written += block.len();
        block.clear();
        // What waits is read before it ends.
        let Ok((_, len)) = recv(socket, &mut bytes, RecvFlags::empty()) else {
            if must_stop.load(Ordering::Relaxed) {
                return file.flush();
            }
            thread::sleep(LOOK);
            continue;
        };
        if written < LEN_MAX {
            let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let data = bytes.get(..len.min(bytes.len())).unwrap_or_default();
            let meta = Meta { time, direction: None, original_len: len, lost_before: 0 };
            pcapng::enhanced_packet(&mut block, &meta, data);
        } else if must_stop.load(Ordering::Relaxed) {
            return file.flush();
        }
    }
}
