//! What is done when a peer comes, goes, or is two hosts.

use crate::daemon::{Daemon, at_text};
use crate::file::config::Hook;
use crate::file::keys::Key;
use crate::host::program;
use crate::site::Site;
use crate::state;
use adit_engine::Endpoint;
use adit_runtime::Runner;
use adit_service::error::{Error, Exit, SYSTEM};
use adit_tunnel::PublicKey;
use std::fmt::Display;

impl Daemon {
    /// A peer is there: it has a session, or was heard again.
    pub fn came(&mut self, runner: &Runner<Site>, peer: &PublicKey, at: Option<Endpoint>) {
        if let Some(hooks) = self.presence.heard(runner.now(), peer) {
            self.tell(format_args!("{} is there", *peer.to_base64()));
            self.run_hooks(&hooks, peer, at);
        }
    }

    pub fn look_who_is_gone(&mut self, runner: &mut Runner<Site>) {
        let now = runner.now();
        let tunnel = &mut runner.engine_mut().tunnel;
        let gone = self.presence.gone(now, |peer| tunnel.status(now, peer)?.last_authentic);
        for (peer, silent, hooks) in gone {
            tunnel.await_peer(&peer);
            let (name, silent) = (peer.to_base64(), silent.as_secs());
            self.tell(format_args!("{} is gone: it was silent for {silent} s", *name));
            let endpoint = tunnel.peer_config(&peer).and_then(|config| config.endpoint);
            self.run_hooks(&hooks, &peer, endpoint);
        }
        if self.loaded.config.interface.is_transient && self.presence.is_over() {
            let message = "no peer is there, and the tunnel is not to wait (`persist = false`)";
            self.failure = Some(Error::new(Exit::Timeout, &SYSTEM, message));
            self.is_stopping = true;
        }
    }

    /// Runs the hooks of the peers that are there as they go, at the end.
    pub fn end_hooks(&mut self) {
        for (peer, hooks) in self.presence.end() {
            self.run_hooks(&hooks, &peer, None);
        }
        self.peer_hooks.finish();
    }

    pub fn run_hooks(&mut self, hooks: &[Hook], peer: &PublicKey, at: Option<Endpoint>) {
        for hook in hooks {
            let at = at.and_then(state::udp);
            self.peer_hooks.run(program::peer_words(hook, &self.loaded.name, peer, at));
        }
    }

    fn note_two(&self, peer: &PublicKey, one: &dyn Display, other: &dyn Display, what: &str) {
        let key = peer.to_base64();
        self.output.note(format!(
            "warning: two hosts use the key {}: at {one}, and at {other}, {what}; give each its own",
            *key
        ));
    }

    /// A peer has moved: one host may be at two places by turns, but most likely they are two.
    pub fn moved(
        &mut self,
        runner: &Runner<Site>,
        peer: &PublicKey,
        from: Option<Endpoint>,
        to: Endpoint,
    ) {
        if let (Some(Endpoint::Udp(one)), Endpoint::Udp(other)) = (from, to)
            && self.presence.moved(runner.now(), peer, Endpoint::Udp(one), to)
        {
            self.note_two(peer, &one, &other, "which each take the other's place");
        }
    }

    /// Another host with a peer's key was refused.
    pub fn refused(&mut self, runner: &Runner<Site>, peer: &PublicKey, from: Endpoint) {
        if self.presence.refused(runner.now(), peer) {
            let config = runner.engine().tunnel.peer_config(peer);
            let here = config.and_then(|config| config.endpoint);
            let here = here.map(|at| at_text(runner, at)).unwrap_or_default();
            self.note_two(peer, &here, &at_text(runner, from), "which is refused");
        }
    }
}
