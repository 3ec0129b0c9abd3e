//! https: a front with a certificate of an authority that no system knows.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::model;
use super::server::{Act, KEY, Server};
use crate::support::{Place, Said};

/// Made once for these tests, with openssl; the authority's key was thrown away.
const AUTHORITY: &str = include_str!("tls/ca.pem");
const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("tls/server.key");

/// Takes TLS connections and hands their requests to a plain server; the port on which it listens.
fn front(behind: u16) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a matching key");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let config = config.clone();
            std::thread::spawn(move || {
                let connection = ServerConnection::new(config).expect("a connection");
                // A client that does not trust us hangs up in the middle: that is what one test is about.
                let _ = relay(StreamOwned::new(connection, stream), behind);
            });
        }
    });
    port
}

fn relay(tls: StreamOwned<ServerConnection, TcpStream>, behind: u16) -> std::io::Result<()> {
    let mut client = BufReader::new(tls);
    let mut server = BufReader::new(TcpStream::connect(("127.0.0.1", behind))?);
    loop {
        let request = message(&mut client)?;
        server.get_mut().write_all(&request)?;
        let response = message(&mut server)?;
        client.get_mut().write_all(&response)?;
        client.get_mut().flush()?;
    }
}

/// One HTTP message with a length.
fn message(from: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let (mut bytes, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        bytes.extend_from_slice(line.as_bytes());
        if line.trim().is_empty() {
            break;
        }
    }
    let head = bytes.len();
    bytes.resize(head + length, 0);
    from.read_exact(&mut bytes[head..])?;
    Ok(bytes)
}

fn check(place: &Place, port: u16, more: &[&str]) -> Said {
    let mut command = place.command();
    command.env("OPENAI_API_KEY", KEY);
    let url = format!("https://127.0.0.1:{port}/v1");
    command.args(["llm", "check", "--base-url", &url, "--model", "test", "--format", "json"]).args(more);
    Said::of(&command.output().expect("the binary runs"))
}

#[test]
fn https_works_with_an_authority_of_ones_own_and_with_no_other() {
    let place = Place::new();
    let server = Server::with(vec![], |_| Act::Say("{\"answer\": 42}".to_owned()));
    let port = front(server.port());
    let ours = place.write("ca.pem", AUTHORITY).display().to_string();
    let said = check(&place, port, &["--set", &format!("llm.ca_file={ours}")]).expect(0).json();
    let works =
        said["features"].as_array().expect("features").iter().filter(|row| row["works"] == true).count();
    assert_eq!(works, 6, "{said}");
    assert!(server.seen().iter().all(|seen| seen.authorization == format!("Bearer {KEY}")));
    let asked = server.seen().len();
    let said = check(&place, port, &[]).expect(5).json();
    let first = model::text(&said["features"][0], "detail");
    assert!(first.contains("unreachable") && first.contains("certificate"), "{first}");
    assert_eq!(server.seen().len(), asked, "nothing is told to a server that is not trusted");
    let gone = ["--set", "llm.ca_file=/no/such/file.pem"];
    check(&place, port, &gone).expect(3).complains(&["llm.ca_file", "/no/such/file.pem"]);
}
