//! A relay of datagrams, for QUIC.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::link::{Link, Way};

/// The most packets of a flow that wait, one way.
const ROOM: usize = 1024;
/// The most clients at a time: one more takes the place of the first.
const FLOWS: usize = 64;
/// The longest datagram.
const LONGEST: usize = 65_536;

/// A relay between clients and one address, which ends when it is dropped. Its rules are its [`Link`]'s.
pub struct UdpRelay {
    address: SocketAddr,
    link: Arc<Link>,
    task: AbortHandle,
}

impl UdpRelay {
    /// A relay to `target`, on a free port of loopback.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let front = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
        let (address, link) = (front.local_addr()?, Link::new(seed));
        let task = tokio::spawn(relay(front, target, link.clone())).abort_handle();
        Ok(Self { address, link, task })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Deref for UdpRelay {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Drop for UdpRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One client: what it sends goes to a lane; its tasks end with it.
struct Flow {
    number: u64,
    up: mpsc::Sender<Vec<u8>>,
    _tasks: JoinSet<()>,
}

/// Hands what clients send to the lanes of their flows.
async fn relay(front: Arc<UdpSocket>, target: SocketAddr, link: Arc<Link>) {
    let mut flows: BTreeMap<SocketAddr, Flow> = BTreeMap::new();
    let mut buffer = vec![0; LONGEST];
    loop {
        let Some((length, client)) = received(front.recv_from(&mut buffer).await).await else { continue };
        if !flows.contains_key(&client) {
            let oldest = flows.iter().min_by_key(|(_, flow)| flow.number).map(|(client, _)| *client);
            if let Some(oldest) = oldest.filter(|_| flows.len() >= FLOWS) {
                flows.remove(&oldest);
            }
            let Ok(flow) = flow(&front, client, target, &link).await else { continue };
            flows.insert(client, flow);
        }
        offer(&flows[&client].up, &buffer[..length], &link, Way::Up);
    }
}

/// Begins the flow of a client: a socket of its own towards the target, and a lane each way.
async fn flow(front: &Arc<UdpSocket>, client: SocketAddr, target: SocketAddr, link: &Arc<Link>) -> io::Result<Flow> {
    let number = link.next_flow();
    let back = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    let (up, upward) = mpsc::channel(ROOM);
    let (down, downward) = mpsc::channel(ROOM);
    let mut tasks = JoinSet::new();
    let lane =
        |way, incoming, exit| Lane { link: link.clone(), way, flow: number, incoming, exit, held: BinaryHeap::new() };
    tasks.spawn(lane(Way::Up, upward, (back.clone(), target)).run());
    tasks.spawn(lane(Way::Down, downward, (front.clone(), client)).run());
    let link = link.clone();
    tasks.spawn(async move {
        let mut buffer = vec![0; LONGEST];
        loop {
            let Some((length, from)) = received(back.recv_from(&mut buffer).await).await else { continue };
            if from == target {
                offer(&down, &buffer[..length], &link, Way::Down);
            }
        }
    });
    Ok(Flow { number, up, _tasks: tasks })
}

/// What a socket gave. An error is of an earlier packet, for which there was nobody at the other end; it is not asked again at
/// once.
async fn received<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(received) => Some(received),
        Err(_) => {
            sleep(Duration::from_millis(5)).await;
            None
        }
    }
}

/// Puts a packet on a lane, unless it is full.
fn offer(lane: &mpsc::Sender<Vec<u8>>, packet: &[u8], link: &Link, way: Way) {
    if lane.try_send(packet.to_vec()).is_err() {
        let mut counts = link.counting(way);
        counts.packets += 1;
        counts.lost += 1;
    }
}

/// One way of a flow: packets wait here until they are due.
struct Lane {
    link: Arc<Link>,
    way: Way,
    flow: u64,
    incoming: mpsc::Receiver<Vec<u8>>,
    /// By which socket they leave, and where to.
    exit: (Arc<UdpSocket>, SocketAddr),
    /// The first that is due on top; in the order in which they came, where they are due together.
    held: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
}

impl Lane {
    async fn run(mut self) {
        let (mut number, mut order) = (0, 0);
        loop {
            let due = self.held.peek().map(|Reverse((due, ..))| *due);
            tokio::select! {
                packet = self.incoming.recv() => {
                    let Some(packet) = packet else { break };
                    let now = Instant::now();
                    for arrival in self.link.arrivals(self.way, self.flow, number, packet.len()) {
                        if self.held.len() >= ROOM {
                            self.link.counting(self.way).lost += 1;
                            continue;
                        }
                        self.held.push(Reverse((now + arrival.after, order, packet[..arrival.length].to_vec())));
                        order += 1;
                    }
                    number += 1;
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            while self.held.peek().is_some_and(|Reverse((due, ..))| *due <= Instant::now()) {
                let Some(Reverse((_, _, packet))) = self.held.pop() else { break };
                if self.link.rules(self.way, self.flow).cut {
                    // It was on its way when the link was cut.
                    self.link.counting(self.way).lost += 1;
                } else {
                    let (socket, to) = &self.exit;
                    // A packet that cannot be sent is one that is lost.
                    let _ = socket.send_to(&packet, *to).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::relay::link::{Counts, Rules};

    /// Long after the last packet has come.
    const QUIET: Duration = Duration::from_millis(300);
    const SOON: Duration = Duration::from_secs(10);

    /// A client of a relay, and whom it reaches.
    struct Ends {
        relay: UdpRelay,
        client: UdpSocket,
        server: UdpSocket,
    }

    impl Ends {
        async fn new(seed: u64) -> Self {
            let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let relay = UdpRelay::start(server.local_addr().unwrap(), seed).await.unwrap();
            let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            client.connect(relay.address()).await.unwrap();
            Self { relay, client, server }
        }

        /// Sends packets up, one after the other; the numbers that arrive, in order, and how long each packet is.
        async fn up(&self, numbers: std::ops::Range<u32>) -> Vec<(u32, usize)> {
            let send = async {
                let before = self.relay.counts(Way::Up).packets;
                for (sent, number) in (1..).zip(numbers) {
                    let mut packet = vec![0; 100];
                    packet[..4].copy_from_slice(&number.to_le_bytes());
                    self.client.send(&packet).await.unwrap();
                    // Sockets have little room, and none of these may be lost on the way to the relay.
                    until(|| self.relay.counts(Way::Up).packets >= before + sent).await;
                }
            };
            let receive = async {
                let (mut arrived, mut buffer) = (Vec::new(), [0; 200]);
                while let Ok(received) = timeout(QUIET, self.server.recv_from(&mut buffer)).await {
                    let (length, _) = received.unwrap();
                    let number = buffer[..length].first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
                    arrived.push((number, length));
                }
                arrived
            };
            tokio::join!(send, receive).1
        }
    }

    async fn until(is: impl Fn() -> bool) {
        let wait = async {
            while !is() {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, wait).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn packets_pass_both_ways_and_clients_are_told_apart() {
        let ends = Ends::new(1).await;
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        other.connect(ends.relay.address()).await.unwrap();
        let mut buffer = [0; 16];
        for (client, word) in [(&ends.client, b"one"), (&other, b"two")] {
            client.send(word).await.unwrap();
            let (length, from) = timeout(SOON, ends.server.recv_from(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(&buffer[..length], word);
            ends.server.send_to(&buffer[..length], from).await.unwrap();
            let length = timeout(SOON, client.recv(&mut buffer)).await.unwrap().unwrap();
            assert_eq!(&buffer[..length], word);
        }
        assert_eq!(ends.relay.counts(Way::Up), Counts { packets: 2, ..Counts::default() });
        assert_eq!(ends.relay.counts(Way::Down), Counts { packets: 2, ..Counts::default() });
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_rule_does_what_it_says_and_the_same_to_the_same_seed() {
        let mut runs = Vec::new();
        for _ in 0..2 {
            let ends = Ends::new(7).await;
            ends.relay.set(Way::Up, Rules { lose: 0.2, ..Rules::default() });
            let lossy = ends.up(0..200).await;
            assert!(lossy.len() < 200 && lossy.is_sorted(), "{lossy:?}");
            ends.relay.set(Way::Up, Rules { duplicate: 0.2, ..Rules::default() });
            let doubled = ends.up(200..400).await;
            assert!(doubled.len() > 200 && doubled.is_sorted(), "{doubled:?}");
            ends.relay.set(Way::Up, Rules { truncate: 0.2, ..Rules::default() });
            let shortened = ends.up(400..600).await;
            assert!(shortened.len() == 200 && shortened.iter().any(|(_, length)| *length < 100), "{shortened:?}");
            ends.relay.set(Way::Up, Rules { reorder: 0.2, ..Rules::default() });
            let mut mixed = ends.up(600..800).await;
            assert!(mixed.len() == 200 && !mixed.is_sorted(), "{mixed:?}");
            // In which order they come is the clock's affair.
            mixed.sort_unstable();
            runs.push((lossy, doubled, shortened, mixed, ends.relay.counts(Way::Up)));
        }
        assert_eq!(runs[0], runs[1]);
        let counts = runs[0].4;
        assert_eq!((counts.packets, counts.lost), (800, 200 - runs[0].0.len() as u64));
        assert!([counts.duplicated, counts.truncated, counts.reordered].iter().all(|count| *count > 20), "{counts:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_delayed_comes_later_and_what_is_cut_not_at_all() {
        let ends = Ends::new(1).await;
        let delay = Duration::from_millis(60);
        ends.relay.set(Way::Up, Rules { delay, ..Rules::default() });
        let mut buffer = [0; 16];
        let started = Instant::now();
        ends.client.send(b"late").await.unwrap();
        let (_, from) = timeout(SOON, ends.server.recv_from(&mut buffer)).await.unwrap().unwrap();
        assert!(started.elapsed() >= delay);
        // What is on its way when the link is cut is lost; the other way is open.
        ends.client.send(b"lost").await.unwrap();
        sleep(delay / 4).await;
        ends.relay.cut(Way::Up);
        assert!(timeout(QUIET, ends.server.recv_from(&mut buffer)).await.is_err());
        ends.server.send_to(b"back", from).await.unwrap();
        let length = timeout(SOON, ends.client.recv(&mut buffer)).await.unwrap().unwrap();
        assert_eq!(&buffer[..length], b"back");
        ends.relay.cut(Way::Down);
        ends.server.send_to(b"back", from).await.unwrap();
        assert!(timeout(QUIET, ends.client.recv(&mut buffer)).await.is_err());
        ends.relay.heal();
        assert_eq!(ends.up(0..10).await.len(), 10);
        assert_eq!(ends.relay.counts(Way::Down), Counts { packets: 2, lost: 1, ..Counts::default() });
    }

    /// A full queue loses packets, as a router's does, and a relay to nobody only waits.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_finds_no_room_is_lost_and_nobody_there_is_no_error() {
        let ends = Ends::new(1).await;
        ends.relay.set(Way::Up, Rules { delay: Duration::from_secs(3600), ..Rules::default() });
        let sent = ROOM as u32 + 300;
        assert!(ends.up(0..sent).await.is_empty());
        let counts = ends.relay.counts(Way::Up);
        assert_eq!(counts.lost, counts.packets - ROOM as u64, "{counts:?}");
        let Ends { relay, client, server } = ends;
        drop(server);
        relay.set(Way::Up, Rules::default());
        for sent in 1..=5 {
            client.send(b"anybody?").await.unwrap();
            until(|| relay.counts(Way::Up).packets == counts.packets + sent).await;
        }
        // Dropped, it is gone: its port is free again.
        let address = relay.address();
        drop(relay);
        until(|| std::net::UdpSocket::bind(address).is_ok()).await;
    }
}
