//! Tracks the open connections of `[serve]`, and chooses which of them to close for a new one.
//!
//! **Invariant:** there are never more than [`CONNECTIONS_MAX`] places, and never more than [`PEER_MAX`] of one IP
//! address.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// How many connections may be open at once. A page, a few scrapers and a load balancer need a tenth of this.
const CONNECTIONS_MAX: usize = 64;
/// How many of them may belong to one IP address, so that other addresses find room.
const PEER_MAX: usize = 48;

#[derive(Debug)]
struct Open {
    peer: IpAddr,
    /// How many requests have arrived and are not answered yet.
    answering: usize,
    close: CancellationToken,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// The open connections by number, so the oldest comes first.
    open: BTreeMap<u64, Open>,
}

/// The places of all connections: a shared table.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<Mutex<Table>>);

/// The place of one connection. Dropping it frees the place.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    number: u64,
    close: CancellationToken,
}

/// Marks a request as being answered, until this is dropped.
#[derive(Debug)]
pub(super) struct Answering {
    places: Places,
    number: u64,
}

impl Places {
    /// Takes a place for a new connection. If all places, or all places of its address, are taken, it closes another
    /// connection.
    pub(super) fn take(&self, peer: IpAddr) -> Place {
        // An IPv4 client of an IPv6 socket counts as the same address.
        let peer = peer.to_canonical();
        let mut table = self.lock();
        if table.of(peer) >= PEER_MAX {
            table.close_one_of(peer);
        } else if table.open.len() >= CONNECTIONS_MAX {
            table.close_one();
        }
        let (number, close) = (table.next, CancellationToken::new());
        table.next += 1;
        table.open.insert(number, Open { peer, answering: 0, close: close.clone() });
        drop(table);
        Place { places: self.clone(), number, close }
    }

    /// Closes one connection, without taking a place for a new one.
    pub(super) fn make_room(&self) {
        self.lock().close_one();
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn of(&self, peer: IpAddr) -> usize {
        self.open.values().filter(|open| open.peer == peer).count()
    }

    /// Closes a connection of the address that has most connections.
    fn close_one(&mut self) {
        let most = self.open.values().map(|open| (self.of(open.peer), open.peer)).max();
        if let Some((_, peer)) = most {
            self.close_one_of(peer);
        }
    }

    /// Closes the oldest connection of this address without a pending request. If all have one, closes its oldest.
    fn close_one_of(&mut self, peer: IpAddr) {
        let of_peer = || self.open.iter().filter(|(_, open)| open.peer == peer);
        let idle = of_peer().find(|(_, open)| open.answering == 0);
        let oldest = idle.or_else(|| of_peer().next()).map(|(number, _)| *number);
        if let Some(closed) = oldest.and_then(|number| self.open.remove(&number)) {
            closed.close.cancel();
        }
    }
}

impl Place {
    /// Resolves when this connection must close for another one.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Marks that a request has arrived, until the returned value is dropped.
    pub(super) fn answering(&self) -> Answering {
        let (places, number) = (self.places.clone(), self.number);
        if let Some(open) = places.lock().open.get_mut(&number) {
            open.answering += 1;
        }
        Answering { places, number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().open.remove(&self.number);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(open) = self.places.lock().open.get_mut(&self.number) {
            open.answering -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn is_closed(place: &Place) -> bool {
        place.close.is_cancelled()
    }

    #[test]
    fn a_new_connection_replaces_the_oldest_idle_one() {
        let places = Places::default();
        let held: Vec<Place> = (0..PEER_MAX).map(|_| places.take(peer(1))).collect();
        let busy = held[0].answering();
        let new = places.take(peer(1));
        assert!(!is_closed(&held[0]) && is_closed(&held[1]) && !is_closed(&new));
        drop(busy);
        let newer = places.take(peer(1));
        assert!(is_closed(&held[0]) && !is_closed(&newer));
        assert_eq!(places.lock().open.len(), PEER_MAX);
    }

    #[test]
    fn connections_of_the_busiest_address_are_closed_first() {
        let places = Places::default();
        let one = places.take(peer(2));
        let many: Vec<Place> = (0..CONNECTIONS_MAX).map(|_| places.take(peer(1))).collect();
        let others: Vec<Place> = (3..60).map(|last| places.take(peer(last))).collect();
        assert!(!is_closed(&one) && others.iter().all(|place| !is_closed(place)));
        assert!(many.iter().filter(|place| is_closed(place)).count() >= CONNECTIONS_MAX - 7);
        assert_eq!(places.lock().open.len(), CONNECTIONS_MAX);
    }

    #[test]
    fn a_dropped_connection_frees_its_place() {
        let places = Places::default();
        drop(places.take(peer(1)));
        assert!(places.lock().open.is_empty());
        places.make_room();
    }
}
