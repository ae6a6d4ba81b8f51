//! Files of a simulation: its trace, and the packets of each link.

use super::build::Net;
use adit_packet::{Instant, Layer};
use adit_runtime::format::pcapng::{self, Direction, Interface, LinkType, Meta};
use adit_runtime::record::error::writer;
use adit_service::error::{Error, Result};
use adit_sim::{Crossing, End, Sim};
use adit_topology::plan::Plan;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The files that a simulation writes.
#[derive(Default)]
pub(super) struct Recorders {
    files: Rc<RefCell<Vec<Output>>>,
}

struct Output {
    path: PathBuf,
    file: BufWriter<File>,
    error: Option<io::Error>,
}

impl Output {
    fn create(path: PathBuf) -> Result<Self> {
        let file = File::create(&path);
        let file = file.map_err(|error| Error::io("create", path.display(), &error))?;
        Ok(Self { path, file: BufWriter::new(file), error: None })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.error = self.file.write_all(bytes).err();
        }
    }
}

impl Recorders {
    pub(super) fn trace(&mut self, sim: &mut Sim, path: &Path) -> Result<()> {
        let place = self.add(Output::create(path.to_owned())?);
        let files = Rc::clone(&self.files);
        sim.trace_to(move |line| {
            let mut files = files.borrow_mut();
            files[place].write(line.as_bytes());
            files[place].write(b"\n");
        });
        Ok(())
    }

    pub(super) fn capture(
        &mut self,
        sim: &mut Sim,
        folder: &Path,
        plan: &Plan,
        net: &Net,
    ) -> Result<()> {
        fs::create_dir_all(folder)
            .map_err(|error| Error::io("create", folder.display(), &error))?;
        // The file of each end of a link; packets from its first end are outgoing.
        let mut places: BTreeMap<End, (usize, Direction)> = BTreeMap::new();
        for (link, ends) in plan.lab.links.iter().zip(&net.ends) {
            let Some([a, b]) = ends else { continue };
            let mut output = Output::create(folder.join(format!("{}.pcapng", link.name)))?;
            let mut head = Vec::new();
            pcapng::section_header(&mut head, &writer());
            let interface = Interface {
                name: link.name.to_string(),
                link_type: LinkType::Ethernet,
                snap_len: 262_144,
                filter: None,
            };
            pcapng::interface_description(&mut head, &interface);
            output.write(&head);
            let place = self.add(output);
            places.insert(*a, (place, Direction::Out));
            places.insert(*b, (place, Direction::In));
        }
        let files = Rc::clone(&self.files);
        let mut block = Vec::new();
        sim.tap(move |crossing: Crossing<'_>| {
            let place = places.get(&crossing.from);
            if let (Some(&(place, direction)), Some(Layer::Frame)) = (place, crossing.layer) {
                let meta = Meta {
                    time: crossing.at.since(Instant::ZERO),
                    direction: Some(direction),
                    original_len: crossing.bytes.len(),
                    lost_before: 0,
                };
                block.clear();
                pcapng::enhanced_packet(&mut block, &meta, crossing.bytes);
                files.borrow_mut()[place].write(&block);
            }
        });
        Ok(())
    }

    fn add(&mut self, output: Output) -> usize {
        let mut files = self.files.borrow_mut();
        files.push(output);
        files.len() - 1
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        for output in self.files.borrow_mut().iter_mut() {
            let written = output.error.take().map_or_else(|| output.file.flush(), Err);
            written.map_err(|error| Error::io("write", output.path.display(), &error))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Recorders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorders").field("files", &self.files.borrow().len()).finish()
    }
}
