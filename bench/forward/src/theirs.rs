//! Other libraries, used as their own examples and benchmark programs use them.

use crate::{FAR, Kind, NEAR, Result};
use adit_device::Netns;
use std::sync::Arc;
use std::thread;
use tun_rs::{DeviceBuilder, GROTable, IDEAL_BATCH_SIZE, Layer, SyncDevice, VIRTIO_NET_HDR_LEN};

fn tun_rs_device(netns: &Netns, address: &str, kind: Kind) -> Result<Arc<SyncDevice>> {
    let layer = if kind.tap { Layer::L2 } else { Layer::L3 };
    let device = netns.run(|| {
        DeviceBuilder::new()
            .name("dev0")
            .layer(layer)
            .ipv4(address, 24, None)
            .mtu(1500)
            .offload(kind.offload)
            .build_sync()
    })??;
    Ok(Arc::new(device))
}

/// A frame of MTU 1500: no longer, for what is cut off is filled with zeros again.
const BUF_LEN: usize = VIRTIO_NET_HDR_LEN + 14 + 1500;

/// tun-rs with offload on: a thread a direction, `recv_multiple` and `send_multiple`.
pub(crate) fn tun_rs_multiple(ends: [&Netns; 2], kind: Kind) -> Result<()> {
    let near = tun_rs_device(ends[0], NEAR, kind)?;
    let far = tun_rs_device(ends[1], FAR, kind)?;
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            let mut original = vec![0; VIRTIO_NET_HDR_LEN + 65_535];
            // Room for what is joined in place, so that nothing is allocated in the loop.
            let mut bufs: Vec<Vec<u8>> = (0..IDEAL_BATCH_SIZE)
                .map(|_| {
                    let mut buf = Vec::with_capacity(VIRTIO_NET_HDR_LEN + 65_536);
                    buf.resize(BUF_LEN, 0);
                    buf
                })
                .collect();
            let mut sizes = vec![0; IDEAL_BATCH_SIZE];
            let mut table = GROTable::default();
            loop {
                let offset = VIRTIO_NET_HDR_LEN;
                let count = match from.recv_multiple(&mut original, &mut bufs, &mut sizes, offset) {
                    Ok(count) => count,
                    Err(error) => {
                        eprintln!("tun-rs: recv_multiple: {error}");
                        continue;
                    }
                };
                for (buf, size) in bufs.iter_mut().zip(&sizes).take(count) {
                    buf.truncate(offset + size);
                }
                if let Err(error) = to.send_multiple(&mut table, &mut bufs[..count], offset) {
                    eprintln!("tun-rs: send_multiple: {error}");
                }
                for buf in &mut bufs[..count] {
                    buf.resize(BUF_LEN, 0);
                }
            }
        });
    }
    Ok(())
}

/// tun-rs with a thread a direction, `recv` and `send`: packets without offload, records with it, which
/// are a virtio-net header and a super-packet.
pub(crate) fn tun_rs_records(ends: [&Netns; 2], kind: Kind) -> Result<()> {
    let near = tun_rs_device(ends[0], NEAR, kind)?;
    let far = tun_rs_device(ends[1], FAR, kind)?;
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        thread::spawn(move || {
            let mut buf = vec![0; VIRTIO_NET_HDR_LEN + 14 + 65_536];
            while let Ok(len) = from.recv(&mut buf) {
                let _ = to.send(&buf[..len]);
            }
        });
    }
    Ok(())
}

/// tun with tokio: a task a direction on two workers.
pub(crate) fn tun_tokio(ends: [&Netns; 2]) -> Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let device = |netns: &Netns, address: &str| -> Result<Arc<tun::AsyncDevice>> {
        let device = netns.run(|| {
            let _context = runtime.enter();
            let mut config = tun::Configuration::default();
            config.tun_name("dev0").address(address).netmask("255.255.255.0").mtu(1500).up();
            tun::create_as_async(&config)
        })??;
        Ok(Arc::new(device))
    };
    let (near, far) = (device(ends[0], NEAR)?, device(ends[1], FAR)?);
    for (from, to) in [(near.clone(), far.clone()), (far, near)] {
        runtime.spawn(async move {
            let mut buf = vec![0; 65_536];
            while let Ok(len) = from.recv(&mut buf).await {
                let _ = to.send(&buf[..len]).await;
            }
        });
    }
    // It goes with the process.
    std::mem::forget(runtime);
    Ok(())
}
