//! The index of each queue, for steering: the kernel does not report it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The attached queues of one device in the kernel's order (`tun->tfiles`): when a queue is
/// detached or closed, the last one takes its index. Known only if one process opened every queue.
#[derive(Debug, Default)]
pub(crate) struct Order(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    attached: Vec<u64>,
    next: u64,
}

/// The entry of one queue in the order; dropping it removes the queue. All descriptors of the queue
/// share it, because the kernel's queue ends with the last of them.
#[derive(Debug)]
pub(crate) struct Place {
    order: Arc<Order>,
    ticket: u64,
    kept: AtomicBool,
}

impl Order {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Adds a queue that was attached just now.
    pub(crate) fn join(self: &Arc<Self>) -> Arc<Place> {
        let ticket = self.with(|state| {
            state.next += 1;
            state.attached.push(state.next);
            state.next
        });
        Arc::new(Place { order: Arc::clone(self), ticket, kept: AtomicBool::new(false) })
    }
}

impl Place {
    /// The index, 0 to 255; `None` while detached.
    pub(crate) fn index(&self) -> Option<u16> {
        let at = self.order.with(|state| state.attached.iter().position(|&t| t == self.ticket))?;
        u16::try_from(at).ok()
    }

    /// The queue was attached again: it is the last one.
    pub(crate) fn attach(&self) {
        self.order.with(|state| state.attached.push(self.ticket));
    }

    /// The queue was detached: the last one takes its index.
    pub(crate) fn detach(&self) {
        self.order.with(|state| {
            if let Some(at) = state.attached.iter().position(|&ticket| ticket == self.ticket) {
                state.attached.swap_remove(at);
            }
        });
    }
}

impl Place {
    /// The descriptor outlives its `Queue`, so the queue keeps its index.
    pub(crate) fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !*self.kept.get_mut() {
            self.detach();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_takes_the_place_of_one_that_leaves() {
        let order = Arc::new(Order::default());
        let places: Vec<_> = (0..4).map(|_| order.join()).collect();
        places[1].detach();
        let seen: Vec<_> = places.iter().map(|place| place.index()).collect();
        assert_eq!(seen, [Some(0), None, Some(2), Some(1)]);
        places[1].attach();
        assert_eq!(places[1].index(), Some(3));
        drop(places);
        assert_eq!(order.join().index(), Some(0));
    }
}
