//! A port whose packets are recorded, in both directions.

use crate::error::Result;
use crate::format::pcapng::{Direction, Interface, LinkType};
use crate::port::mirror::{MirrorPort, SNAP_LEN};
use crate::port::{Cx, Gone, Port, PortLink, Recv, Wait};
use crate::record::now::Now;
use crate::wake::namespaces::NamespaceName;
use adit_packet::{Batch, Instant, Layer, Pool};
use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::thread::JoinHandle;

/// A pcapng file for the packets of a port.
pub struct Recording(MirrorPort);

impl Recording {
    /// Begins a file for the IP packets of a device; super-packets are recorded whole.
    ///
    /// # Errors
    /// As [`MirrorPort::open`].
    pub fn packets(path: &Path, device: &str) -> Result<Self> {
        Self::begin(path, device, LinkType::Raw)
    }

    /// As [`Self::packets`], for frames.
    ///
    /// # Errors
    /// As [`MirrorPort::open`].
    pub fn frames(path: &Path, device: &str) -> Result<Self> {
        Self::begin(path, device, LinkType::Ethernet)
    }

    fn begin(path: &Path, device: &str, link_type: LinkType) -> Result<Self> {
        let interface =
            Interface { name: device.to_owned(), link_type, snap_len: SNAP_LEN, filter: None };
        MirrorPort::begin(path, interface).map(Self)
    }

    /// Records the packets of this port.
    #[must_use]
    pub fn of(self, port: Box<dyn Port>) -> Box<dyn Port> {
        Box::new(RecordedPort { port, recording: Some(self.0) })
    }
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

/// Another port, with a pcapng file. The file ends alone when it cannot be written; the port goes on.
struct RecordedPort {
    port: Box<dyn Port>,
    /// `None` once it has ended.
    recording: Option<MirrorPort>,
}

impl RecordedPort {
    /// Records a packet. A file that cannot be written any more is closed.
    fn record(&mut self, packet: &adit_packet::PacketBuf, direction: Direction, now: Now) {
        let Some(recording) = &mut self.recording else { return };
        if recording.write(packet, Some(direction), now).is_err() {
            self.recording = None;
        }
    }
}

debug_as_port!(RecordedPort);

impl Port for RecordedPort {
    fn name(&self) -> &str {
        self.port.name()
    }

    fn mtu(&self) -> Option<u32> {
        self.port.mtu()
    }

    fn recv(&mut self, cx: &mut Cx<'_>) -> Recv {
        let received = self.port.recv(cx);
        if let Recv::Packet(packet) = &received {
            self.record(packet, Direction::Out, Now::read());
            self.recording.iter_mut().for_each(|recording| recording.flush_soon(cx.now));
        }
        received
    }

    fn send(&mut self, cx: &mut Cx<'_>, batch: &mut Batch) -> Result<(), Gone> {
        let now = Now::read();
        for packet in batch.iter() {
            self.record(packet, Direction::In, now);
        }
        self.recording.iter_mut().for_each(|recording| recording.flush_soon(cx.now));
        self.port.send(cx, batch)
    }

    fn flush(&mut self, cx: &mut Cx<'_>) -> Result<(), Gone> {
        let is_due =
            |recording: &MirrorPort| recording.next_timeout().is_some_and(|at| at <= cx.now);
        if let Some(recording) = &mut self.recording
            && is_due(recording)
            && recording.flush(cx).is_err()
        {
            self.recording = None;
        }
        self.port.flush(cx)
    }

    fn descriptors(&self, each: &mut dyn FnMut(BorrowedFd<'_>, Wait)) {
        self.port.descriptors(each);
    }

    fn wants_room(&self) -> bool {
        self.port.wants_room()
    }

    fn queued(&self) -> Option<usize> {
        self.port.queued()
    }

    fn has_more(&self) -> bool {
        self.port.has_more()
    }

    fn queues(&self) -> Option<Layer> {
        self.port.queues()
    }

    fn next_timeout(&self) -> Option<Instant> {
        let recording = self.recording.as_ref().and_then(Port::next_timeout);
        self.port.next_timeout().into_iter().chain(recording).min()
    }

    fn failed(&mut self) -> Option<Gone> {
        self.port.failed()
    }

    fn link(&self) -> Option<PortLink<'_>> {
        self.port.link()
    }

    fn namespace(&self) -> Option<&NamespaceName> {
        self.port.namespace()
    }

    fn inner_drops(&self, each: &mut dyn FnMut(&str, u64)) {
        self.port.inner_drops(each);
    }

    fn close(&mut self, pool: &mut Pool) -> Option<JoinHandle<()>> {
        let recording = self.recording.take().and_then(|mut recording| recording.close(pool));
        self.port.close(pool).or(recording)
    }
}
