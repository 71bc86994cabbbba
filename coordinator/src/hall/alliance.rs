//! The alliance's folder: its configuration, its certificate authority and its identity.
//!
//! ```text
//! D/alliance.toml   name, where to listen, what tickets tell partners to dial
//! D/keys/           authority, coordinator, operator: NAME.key and NAME.pem; identity (Ed25519)
//! D/entente.db      tickets, partners, studies and their results
//! D/roster.json     the present roster, as `entente verify --roster` reads it
//! D/serve.lock, D/serve.json    held and written while the coordinator runs
//! ```

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};

use entente_host::Error;
use entente_host::files;
use entente_host::random::random_secret;
use entente_protocols::config;
use entente_protocols::digest::Digest;
use entente_protocols::identity::{IdentityKey, check_name};
use rustls::pki_types::CertificateDer;
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::hall::certificates;

/// Where the coordinator listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:4433";

/// Where the operator's page is served unless told otherwise.
const DEFAULT_PAGE: &str = "127.0.0.1:8080";

/// How many studies run at once unless told otherwise, and the most.
const DEFAULT_STUDIES: u32 = 4;
const MOST_STUDIES: u32 = 1000;

/// An alliance's folder, read and checked. Holds the coordinator's identity key: no `Debug`.
pub struct Alliance {
    dir: PathBuf,
    name: String,
    listen: SocketAddr,
    address: String,
    page: Option<SocketAddr>,
    studies_at_once: u32,
    authority: CertificateDer<'static>,
    identity: IdentityKey,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    alliance: Table,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    listen: String,
    address: String,
    page: Option<String>,
    studies_at_once: Option<u32>,
}

/// Makes an alliance in the folder `dir`: authority, coordinator identity and `alliance.toml`.
///
/// `listen` is where the coordinator will listen; `address` what tickets will tell partners to dial, if that differs.
#[expect(clippy::disallowed_methods, reason = "a folder of keys appears under its name as one")]
pub fn init(dir: &Path, name: &str, listen: &str, address: Option<&str>) -> Result<Alliance, Error> {
    check_alliance_name(name)?;
    let listen = resolve(listen, "--listen")?;
    if listen.port() == 0 {
        return Err(Error::refused("--listen needs a port other than 0: tickets say where partners dial")
            .help("write for example --listen 0.0.0.0:4433"));
    }
    let address = match address {
        Some(address) => check_address(address, "--address").map(str::to_owned)?,
        None => dialable(listen),
    };
    let (toml, keys) = (dir.join("alliance.toml"), dir.join("keys"));
    if files::exists(&toml) || files::exists(&keys) {
        return Err(Error::refused(format!("{} already has an alliance, whose keys would be lost", dir.display()))
            .help(format!(
                "give another folder, or continue with this one: entente invite PARTNER --dir {}",
                dir.display()
            )));
    }
    files::private_folder(dir)?;
    // Complete or not at all: the keys appear under their name when all are there, and the configuration last.
    let unfinished = dir.join("keys.new");
    files::remove_folder(&unfinished)?;
    files::private_folder(&unfinished)?;
    certificates::create(&unfinished, name)?;
    let secret = random_secret()?;
    let text = Zeroizing::new(data_encoding::HEXLOWER.encode(&*secret));
    files::write_private(&unfinished.join("identity"), text.as_bytes())?;
    std::fs::rename(&unfinished, &keys).map_err(|error| Error::file("make", &keys, &error))?;
    files::write_private(&toml, configuration(name, listen, &address).as_bytes())?;
    Alliance::open(dir)
}

fn configuration(name: &str, listen: SocketAddr, address: &str) -> String {
    format!(
        r#"# An Entente alliance. Its keys are in keys/: whoever has them is this alliance. Back them up, show them to nobody.

[alliance]
name = "{name}"

# Where `entente serve` listens (UDP). 0.0.0.0 stands for every network interface.
listen = "{listen}"

# What tickets tell partners to dial, as host:port: this machine as partners reach it, through a firewall if there is one.
# Written into tickets when they are made; partners that have joined keep theirs in their node.toml.
address = "{address}"

# Where `entente serve` shows the operator's page, on this machine alone; "off" to not show it. `entente page` prints how to open it.
page = "{DEFAULT_PAGE}"

# How many studies run at once; others wait in the order in which they came. One that waits for a steward, or for a partner that is
# away, does not count.
studies_at_once = {DEFAULT_STUDIES}
"#
    )
}

impl Alliance {
    /// The alliance in the folder `dir`.
    pub fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join("alliance.toml");
        if !files::exists(&path) {
            return Err(Error::refused(format!("there is no alliance in {}", dir.display())).help(format!(
                "give its folder with --dir, or make one: entente init --dir {} --name NAME",
                dir.display()
            )));
        }
        let File { alliance: Table { name, listen, address, page, studies_at_once } } =
            config::parse(&path.display().to_string(), &files::read_text(&path)?)?;
        check_alliance_name(&name)?;
        let listen = resolve(&listen, &format!("{}: `listen`", path.display()))?;
        check_address(&address, &format!("{}: `address`", path.display()))?;
        let page = match page.as_deref() {
            None | Some("off") => None,
            Some(text) => match text.parse::<SocketAddr>() {
                Ok(page) if page.ip().is_loopback() => Some(page),
                _ => {
                    return Err(Error::refused(format!("{}: `page` is `{text}`", path.display()))
                        .help(format!("write an address of this machine alone such as {DEFAULT_PAGE}, or off")));
                }
            },
        };
        let studies_at_once = studies_at_once.unwrap_or(DEFAULT_STUDIES);
        if !(1..=MOST_STUDIES).contains(&studies_at_once) {
            return Err(Error::refused(format!("{}: `studies_at_once` is {studies_at_once}", path.display()))
                .help(format!("write a number from 1 to {MOST_STUDIES}, or leave it out for {DEFAULT_STUDIES}")));
        }
        let keys = dir.join("keys");
        let text = Zeroizing::new(files::read_text(&keys.join("identity"))?);
        let secret = data_encoding::HEXLOWER.decode(text.trim().as_bytes()).map(Zeroizing::new).ok();
        let secret = secret.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Zeroizing::new));
        let secret = secret.ok_or_else(|| {
            Error::failed(format!("{} is damaged", keys.join("identity").display())).help("restore it from a backup")
        })?;
        let authority = certificates::certificate(&keys, "authority")?;
        Ok(Self {
            dir: dir.into(),
            name,
            listen,
            address,
            page,
            studies_at_once,
            authority,
            identity: IdentityKey::from_secret(&secret),
        })
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the operator's page is served, if it is.
    pub fn page(&self) -> Option<SocketAddr> {
        self.page
    }

    /// How many studies run at once.
    pub fn studies_at_once(&self) -> usize {
        self.studies_at_once as usize
    }

    /// Where the coordinator listens.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// What tickets tell partners to dial.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Fingerprint of the certificate authority.
    pub fn authority(&self) -> Digest {
        Digest::plain(&self.authority)
    }

    /// The coordinator's identity key.
    pub fn identity(&self) -> &IdentityKey {
        &self.identity
    }

    pub(crate) fn keys(&self) -> PathBuf {
        self.dir.join("keys")
    }

    pub(crate) fn authority_certificate(&self) -> &CertificateDer<'static> {
        &self.authority
    }
}

fn check_alliance_name(name: &str) -> Result<(), Error> {
    check_name(name).map_err(|error| {
        let lower = name.to_lowercase();
        let refused = Error::refused(error);
        if check_name(&lower).is_ok() { refused.help(format!("`{lower}` would do")) } else { refused }
    })
}

fn resolve(address: &str, place: &str) -> Result<SocketAddr, Error> {
    let found = address.to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let address_of = found.iter().find(|found| found.is_ipv4()).or(found.first());
    address_of.copied().ok_or_else(|| {
        Error::refused(format!("{place}: `{address}` is not an address to listen at"))
            .help("write IP:PORT, for example 0.0.0.0:4433")
    })
}

fn check_address<'a>(address: &'a str, place: &str) -> Result<&'a str, Error> {
    let good = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && host.len() <= 255
            && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\\' || c == '/')
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if good {
        Ok(address)
    } else {
        Err(Error::refused(format!("{place}: `{address}` is not host:port"))
            .help("write for example alliance.example:4433"))
    }
}

/// What partners can dial if the coordinator listens at `listen`: for "every interface", the one that leads outside.
fn dialable(listen: SocketAddr) -> String {
    if !listen.ip().is_unspecified() {
        return listen.to_string();
    }
    // Connecting a UDP socket sends nothing; it only picks the interface.
    let (any, outside) = if listen.is_ipv4() { ("0.0.0.0:0", "192.0.2.1:9") } else { ("[::]:0", "[2001:db8::1]:9") };
    let own = UdpSocket::bind(any).and_then(|socket| socket.connect(outside).and_then(|()| socket.local_addr()));
    let loopback = if listen.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { std::net::Ipv6Addr::LOCALHOST.into() };
    let ip = own.map_or(loopback, |own| own.ip());
    SocketAddr::new(ip, listen.port()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<Alliance, Error>) -> String {
        match result {
            Ok(_) => panic!("must be refused"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_alliance_is_made_once_and_its_secrets_are_the_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("d");
        let made = init(&dir, "spring", DEFAULT_LISTEN, None).unwrap();
        let opened = Alliance::open(&dir).unwrap();
        assert_eq!(opened.name(), "spring");
        assert_eq!(opened.address(), DEFAULT_LISTEN);
        assert_eq!(made.authority(), opened.authority());
        assert_eq!(made.identity().public(), opened.identity().public());
        assert!(refusal(init(&dir, "spring", DEFAULT_LISTEN, None)).contains("already"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&dir), 0o700);
            assert_eq!(mode(&dir.join("keys")), 0o700);
            for file in std::fs::read_dir(dir.join("keys")).unwrap() {
                assert_eq!(mode(&file.unwrap().path()), 0o600);
            }
        }
    }

    #[test]
    fn mistakes_say_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("d");
        assert!(refusal(init(&dir, "Spring", DEFAULT_LISTEN, None)).contains("`spring` would do"));
        assert!(refusal(init(&dir, "spring", "127.0.0.1:0", None)).contains("port other than 0"));
        assert!(refusal(init(&dir, "spring", "nowhere", None)).contains("IP:PORT"));
        assert!(refusal(init(&dir, "spring", DEFAULT_LISTEN, Some("example"))).contains("host:port"));
        assert!(refusal(Alliance::open(&dir)).contains("entente init"));
        assert!(!dir.exists(), "nothing is left behind");
        let alliance = init(&dir, "spring", "0.0.0.0:4433", None).unwrap();
        assert!(!alliance.address().starts_with("0.0.0.0"), "partners can dial it");
        let text = std::fs::read_to_string(dir.join("alliance.toml")).unwrap();
        for (line, expected) in
            [("", Ok(4)), ("studies_at_once = 9", Ok(9)), ("studies_at_once = 0", Err("from 1 to 1000"))]
        {
            std::fs::write(dir.join("alliance.toml"), text.replace("studies_at_once = 4", line)).unwrap();
            match expected {
                Ok(expected) => assert_eq!(Alliance::open(&dir).unwrap().studies_at_once(), expected),
                Err(expected) => assert!(refusal(Alliance::open(&dir)).contains(expected)),
            }
        }
        std::fs::write(dir.join("alliance.toml"), "[alliance]\nname = \"spring\"\nlisen = \"x\"").unwrap();
        assert!(refusal(Alliance::open(&dir)).contains("did you mean `listen`"));
    }
}
