//! The requests of `wg`.

use crate::address::udp;
use crate::daemon::Daemon;
use crate::engine::TunnelEngine;
use crate::file::config::Peer;
use crate::state;
use crate::uapi::{self, SetRequest};
use adit_device::netlink;
use adit_runtime::{PeerOptions, PeerSockets, Runner};
use adit_tunnel::PublicKey;
use rustix::io::Errno;
use std::io;
use zeroize::Zeroizing;

impl Daemon {
    /// Answers a request.
    pub(super) fn answer_wg(
        &mut self,
        runner: &mut Runner<TunnelEngine>,
        request: uapi::Request,
    ) -> Result<Zeroizing<String>, i32> {
        match request {
            uapi::Request::Get => {
                let port = runner.peers().map_or(0, PeerSockets::port);
                let snapshot = state::snapshot(runner, port, self.endpoints.options().mark);
                Ok(uapi::format::get(&snapshot))
            }
            uapi::Request::Set(request) => {
                tracing::debug!(peers = request.peers.len(), "changed by 'wg'");
                self.set(runner, *request).map_err(|error| {
                    netlink::raw_errno(&error).unwrap_or(Errno::IO.raw_os_error())
                })?;
                Ok(Zeroizing::new(uapi::format::errno(0)))
            }
        }
    }

    /// Performs a request of `wg`. What can fail comes first.
    fn set(&mut self, runner: &mut Runner<TunnelEngine>, request: SetRequest) -> io::Result<()> {
        let port = request.listen_port.unwrap_or(self.endpoints.options().port);
        let mark = request.fwmark.unwrap_or(self.endpoints.options().mark);
        self.endpoints.set_udp(runner, PeerOptions { port, mark, ..*self.endpoints.options() })?;
        let (engine, _, out) = runner.engine_and_outbox();
        if let Some(key) = request.private_key
            && engine.tunnel.config().private_key != key
        {
            engine.tunnel.set_private_key(key, out);
        }
        if request.replace_peers {
            let kept = |key: &PublicKey| request.peers.iter().any(|peer| peer.public_key == *key);
            let gone: Vec<PublicKey> = engine.tunnel.peers().filter(|key| !kept(key)).collect();
            gone.iter().for_each(|key| self.remove(runner, key));
        }
        for change in &request.peers {
            let key = change.public_key;
            if change.remove {
                self.remove(runner, &key);
                continue;
            }
            let before = runner.engine().tunnel.peer_config(&key);
            let change = &state::beside_its_stream(runner, before.as_ref(), change);
            let (is_new, was_at) = (before.is_none(), before.as_ref().and_then(|it| it.endpoint));
            let replaces = request.replace_peers;
            let Some(mut peer) = state::changed(before, change, replaces) else { continue };
            let now = runner.now();
            if is_new {
                peer.mode = TunnelEngine::mode_of(runner, &key, None).ok_or(Errno::NOSPC)?;
                self.peers.set(now, &Peer::new(key));
            }
            runner.engine_mut().tunnel.set_peer(now, peer);
            // An address that is the current one does not take the place of a name.
            if let Some(address) = change.endpoint.filter(|at| was_at.and_then(udp) != Some(*at)) {
                self.endpoints.set_address(&key, address);
            }
        }
        Ok(())
    }
}
