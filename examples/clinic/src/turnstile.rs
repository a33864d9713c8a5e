//! Who may have their password checked now.
//!
//! A check is expensive, so only a few are made at a time. Those who wait do so in lanes, one for each address, and the
//! lanes take turns: whoever sends a thousand log-ins waits behind themselves. Who has gone is passed over.

use std::collections::VecDeque;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The most that wait in all, and for one address.
const MAX_WAITING: usize = 256;
const MAX_IN_LANE: usize = 128;

/// Lets so many pass at a time.
#[derive(Clone, Debug)]
pub(crate) struct Turnstile(Arc<Mutex<State>>);

struct State {
    free: usize,
    lanes: VecDeque<(IpAddr, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The right to go on, until it is dropped.
pub(crate) struct Turn(Turnstile);

/// Too many wait already.
#[derive(Debug)]
pub(crate) struct Full;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("free", &self.free).field("lanes", &self.lanes.len()).finish()
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

impl State {
    /// Forgets those who have gone.
    fn tidy(&mut self) {
        for (_, lane) in &mut self.lanes {
            lane.retain(|waiting| !waiting.is_closed());
        }
        self.lanes.retain(|(_, lane)| !lane.is_empty());
    }

    /// The first of the lane whose turn it is; the lane goes to the end.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        self.tidy();
        let (address, mut lane) = self.lanes.pop_front()?;
        let next = lane.pop_front();
        if !lane.is_empty() {
            self.lanes.push_back((address, lane));
        }
        next
    }
}

impl Turnstile {
    pub(crate) fn new(at_a_time: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_a_time, lanes: VecDeque::new() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn. Whoever gives up waiting is passed over.
    pub(crate) async fn turn(&self, address: IpAddr) -> Result<Turn, Full> {
        let waiting = match self.enter(address)? {
            Ok(turn) => return Ok(turn),
            Err(waiting) => waiting,
        };
        // Its sender goes only with a turn.
        waiting.await.map_err(|_| Full)
    }

    /// A turn at once, or a place in the address's lane.
    fn enter(&self, address: IpAddr) -> Result<Result<Turn, oneshot::Receiver<Turn>>, Full> {
        let mut state = self.state();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Ok(Turn(self.clone())));
        }
        state.tidy();
        let waiting: usize = state.lanes.iter().map(|(_, lane)| lane.len()).sum();
        let (sender, receiver) = oneshot::channel();
        match state.lanes.iter_mut().find(|(known, _)| *known == address) {
            _ if waiting >= MAX_WAITING => return Err(Full),
            Some((_, lane)) if lane.len() >= MAX_IN_LANE => return Err(Full),
            Some((_, lane)) => lane.push_back(sender),
            None => state.lanes.push_back((address, VecDeque::from([sender]))),
        }
        Ok(Err(receiver))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.next();
            state.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // One that goes in this moment drops the turn that it was given, which passes it on: so not under the lock.
            drop(next.send(Self(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[tokio::test]
    async fn who_sends_many_waits_behind_themselves() {
        let turnstile = Turnstile::new(1);
        let first = turnstile.turn(address(1)).await.unwrap();
        let mut flood: Vec<_> = (0..50).map(|_| Box::pin(turnstile.turn(address(1)))).collect();
        assert!(flood.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let mut honest = Box::pin(turnstile.turn(address(2)));
        assert!((&mut honest).now_or_never().is_none());
        drop(first);
        let second = (&mut flood[0]).now_or_never().expect("the lane that was first").unwrap();
        drop(second);
        assert!((&mut flood[1]).now_or_never().is_none(), "it is the other lane's turn");
        assert!(honest.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_has_gone_is_passed_over_and_leaves_room() {
        let turnstile = Turnstile::new(1);
        let first = turnstile.turn(address(1)).await.unwrap();
        for _ in 0..1_500 {
            let mut gone = Box::pin(turnstile.turn(address(1)));
            assert!((&mut gone).now_or_never().is_none(), "it waits, however many have gone");
        }
        let mut honest = Box::pin(turnstile.turn(address(1)));
        assert!((&mut honest).now_or_never().is_none());
        drop(first);
        drop((&mut honest).now_or_never().expect("nobody is before it").unwrap());
        assert!(turnstile.turn(address(1)).now_or_never().is_some(), "the turn came back");
    }

    #[tokio::test]
    async fn one_address_cannot_fill_it_and_many_are_refused_at_once() {
        let turnstile = Turnstile::new(1);
        let _first = turnstile.turn(address(0)).await.unwrap();
        let mut waiting = Vec::new();
        let mut wait = |address| {
            let mut turn = Box::pin(turnstile.turn(address));
            let refused = (&mut turn).now_or_never().is_some();
            waiting.push(turn);
            refused
        };
        let refused = (0..1_000).filter(|_| wait(address(1))).count();
        assert_eq!(refused, 1_000 - MAX_IN_LANE);
        assert!(!wait(address(2)), "another one is let in");
        assert!((0..MAX_IN_LANE).filter(|_| wait(address(3))).count() > 0, "and all together are bounded");
    }

    #[tokio::test]
    async fn a_turn_that_nobody_took_goes_to_the_next() {
        let turnstile = Turnstile::new(1);
        let first = turnstile.turn(address(1)).await.unwrap();
        let mut gives_up = Box::pin(turnstile.turn(address(1)));
        assert!((&mut gives_up).now_or_never().is_none());
        drop(first);
        drop(gives_up);
        assert!(turnstile.turn(address(1)).now_or_never().is_some());
    }
}
