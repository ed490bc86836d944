//! The HTTP sink over TLS.
//!
//! The certificates in `tls/` were made by `openssl`, for a hundred years: an authority whose key was
//! thrown away, and by it a server's for localhost and 127.0.0.1.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use bson::doc;
use oplet::sink::{
    DeliverError, Rejection, Sink as _,
    http::{HttpSink, Options},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use super::{lines, pairs};

fn file(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/sinks/tls");
    folder.join(name)
}

/// A server that answers one request per connection with 200, and ends with the process.
fn start() -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(config.clone()).unwrap();
            let mut stream = StreamOwned::new(connection, stream.unwrap());
            let mut request = Vec::new();
            let mut part = [0; 4096];
            // A client that trusts nobody ends the handshake instead.
            while let Ok(1..) = stream
                .read(&mut part)
                .inspect(|len| request.extend(&part[..*len]))
            {
                if String::from_utf8_lossy(&request).contains("{\"n\":1}") {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                    stream.write_all(answer).unwrap();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                    break;
                }
            }
        }
    });
    address
}

async fn deliver(url: &str, ca_file: Option<&Path>) -> Result<Vec<Rejection>, DeliverError> {
    let ca_file = ca_file.map(|path| ("ca-file", path.to_str().unwrap()));
    let mut pairs = pairs(&Vec::from_iter(ca_file));
    let options = Options::from_pairs(url, &mut pairs).unwrap();
    let sink = HttpSink::open(&options, &|_| None)?;
    sink.deliver(&lines(&[doc! { "n": 1 }])).await
}

#[tokio::test]
async fn the_authority_of_a_file_is_trusted_and_no_other() {
    let address = start();
    let authority = file("authority.pem");
    for host in ["localhost", "127.0.0.1"] {
        let url = format!("https://{host}:{}/", address.port());
        assert_eq!(deliver(&url, Some(&authority)).await.unwrap(), []);
    }
    // A file without certificates is a mistake; the system's authorities do not know the server.
    let url = format!("https://127.0.0.1:{}/", address.port());
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), "").unwrap();
    let error = deliver(&url, Some(other.path())).await.unwrap_err();
    assert!(matches!(error, DeliverError::Ended { .. }), "{error:?}");
    let error = deliver(&url, None).await.unwrap_err();
    assert!(
        error.to_string().to_lowercase().contains("certificate"),
        "{error}"
    );
}
