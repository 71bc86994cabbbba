//! A relay of connections, for what runs over TCP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use super::fate::Arrival;
use super::link::{Link, Way};

/// The longest piece of a stream.
const PIECE: usize = 16 * 1024;
/// The most pieces of a connection that wait, one way. While they do, no more is read.
const ROOM: usize = 64;
/// The most connections at a time: others wait to be accepted.
const CONNECTIONS: usize = 64;

/// A relay between clients and one address, which ends when it is dropped, with its connections. Its rules are its [`Link`]'s.
pub struct TcpRelay {
    address: SocketAddr,
    link: Arc<Link>,
    task: AbortHandle,
}

impl TcpRelay {
    /// A relay to `target`, on a free port of loopback.
    pub async fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, link) = (listener.local_addr()?, Link::new(seed));
        let task = tokio::spawn(relay(listener, target, link.clone())).abort_handle();
        Ok(Self { address, link, task })
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Deref for TcpRelay {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Drop for TcpRelay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(listener: TcpListener, target: SocketAddr, link: Arc<Link>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                let Ok((client, _)) = accepted else {
                    // Who went before it was accepted is nobody; and without a free descriptor there is nothing but to wait.
                    sleep(Duration::from_millis(5)).await;
                    continue;
                };
                connections.spawn(connection(client, target, link.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// One connection, which ends both ways when it breaks one way.
async fn connection(client: TcpStream, target: SocketAddr, link: Arc<Link>) {
    let flow = link.next_flow();
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut lanes = JoinSet::new();
    for (way, from, to) in [(Way::Up, from_client, to_server), (Way::Down, from_server, to_client)] {
        let (sender, pieces) = mpsc::channel(ROOM);
        lanes.spawn(read(from, link.clone(), way, flow, sender));
        lanes.spawn(write(to, link.clone(), way, flow, pieces));
    }
    while let Some(Ok(Goes::On)) = lanes.join_next().await {}
}

/// Whether a connection goes on when one of its lanes has ended.
enum Goes {
    /// This way has ended as it should.
    On,
    /// It is broken.
    No,
}

struct Piece {
    due: Instant,
    bytes: Vec<u8>,
    /// Nothing comes behind it: a part of it, or one before it, was lost.
    is_last: bool,
}

async fn read(mut from: OwnedReadHalf, link: Arc<Link>, way: Way, flow: u64, pieces: mpsc::Sender<Piece>) -> Goes {
    let mut buffer = vec![0; PIECE];
    let mut number = 0;
    loop {
        opened(&link, way, flow).await;
        let length = match from.read(&mut buffer).await {
            Ok(0) => return Goes::On,
            Ok(length) => length,
            Err(_) => return Goes::No,
        };
        // A cut keeps what has come.
        opened(&link, way, flow).await;
        let arrival = link.arrivals(way, flow, number, length).into_iter().next();
        number += 1;
        let Arrival { after, length: arrives } = arrival.unwrap_or_default();
        let is_last = arrives < length;
        let piece = Piece { due: Instant::now() + after, bytes: buffer[..arrives].to_vec(), is_last };
        if pieces.send(piece).await.is_err() {
            return Goes::No;
        }
        if is_last {
            // The other lane ends the connection, behind what arrives.
            return Goes::On;
        }
    }
}

async fn write(
    mut to: OwnedWriteHalf,
    link: Arc<Link>,
    way: Way,
    flow: u64,
    mut pieces: mpsc::Receiver<Piece>,
) -> Goes {
    while let Some(Piece { due, bytes, is_last }) = pieces.recv().await {
        // None overtakes another: each is written behind the one before.
        sleep_until(due).await;
        opened(&link, way, flow).await;
        if to.write_all(&bytes).await.is_err() || is_last {
            return Goes::No;
        }
    }
    // Dropped, it says that this way has ended.
    Goes::On
}

/// Waits until a client's link is not cut.
async fn opened(link: &Link, way: Way, flow: u64) {
    let mut changes = link.changes(way);
    while link.rules(way, flow).cut && changes.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;
    use crate::relay::link::{Counts, Rules};

    const QUIET: Duration = Duration::from_millis(300);
    const SOON: Duration = Duration::from_secs(10);

    /// A server that echoes everything until the other side says that nothing more comes.
    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mut from, mut to) = stream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from, &mut to).await });
            }
        });
        address
    }

    async fn relayed(seed: u64) -> (TcpRelay, TcpStream) {
        let relay = TcpRelay::start(echo().await, seed).await.unwrap();
        let stream = TcpStream::connect(relay.address()).await.unwrap();
        (relay, stream)
    }

    /// Says something and hears it.
    async fn says(stream: &mut TcpStream, words: &[u8]) -> io::Result<()> {
        stream.write_all(words).await?;
        let mut heard = vec![0; words.len()];
        timeout(SOON, stream.read_exact(&mut heard)).await.unwrap()?;
        assert_eq!(heard, words);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn streams_pass_whole_and_in_order_whatever_delays_them() {
        let (relay, mut stream) = relayed(1).await;
        relay.set_both(Rules { jitter: Duration::from_millis(3), ..Rules::default() });
        let words: Vec<u8> = (0..1_000_000u32).map(|i| i as u8 ^ (i >> 8) as u8).collect();
        let (mut from, mut to) = stream.split();
        let mut heard = Vec::new();
        let said = async {
            to.write_all(&words).await.unwrap();
            to.shutdown().await.unwrap();
        };
        let (read, ()) = timeout(SOON, async { tokio::join!(from.read_to_end(&mut heard), said) }).await.unwrap();
        read.unwrap();
        assert!(heard == words, "{} of {} bytes", heard.len(), words.len());
        assert_eq!(relay.counts(Way::Up).lost, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_cut_connection_stands_still_and_goes_on_when_it_is_healed() {
        let (relay, mut stream) = relayed(1).await;
        says(&mut stream, b"before").await.unwrap();
        for way in [Way::Up, Way::Down] {
            relay.cut(way);
            stream.write_all(b"cut").await.unwrap();
            let mut heard = [0; 3];
            assert!(timeout(QUIET, stream.read_exact(&mut heard)).await.is_err());
            relay.heal();
            timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
            assert_eq!(&heard, b"cut");
        }
        let whole = |counts: Counts| (counts.lost, counts.truncated) == (0, 0);
        assert!(whole(relay.counts(Way::Up)) && whole(relay.counts(Way::Down)));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn where_a_piece_is_lost_or_cut_short_the_connection_breaks_at_the_same_one_each_time() {
        for rules in [Rules { lose: 0.1, ..Rules::default() }, Rules { truncate: 0.1, ..Rules::default() }] {
            let mut broke = Vec::new();
            for _ in 0..2 {
                let (relay, mut stream) = relayed(6).await;
                relay.set(Way::Up, rules);
                let mut said = 0;
                while says(&mut stream, &[said; 100]).await.is_ok() {
                    said += 1;
                    assert!(said < 100, "it must break");
                }
                let counts = relay.counts(Way::Up);
                assert_eq!((counts.packets, counts.lost + counts.truncated), (u64::from(said) + 1, 1));
                broke.push(said);
                // Others can dial all the same.
                relay.set(Way::Up, Rules::default());
                let mut next = TcpStream::connect(relay.address()).await.unwrap();
                says(&mut next, b"next").await.unwrap();
            }
            assert!(broke[0] > 0 && broke[0] == broke[1], "{broke:?}");
        }
    }
}
