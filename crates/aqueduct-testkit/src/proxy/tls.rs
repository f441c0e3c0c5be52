//! TLS for a test: an authority that issues certificates, right ones and wrong ones, and a server that shows them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aqueduct_core::{Classified, ErrorClass};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Why a certificate or a server with one cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A certificate cannot be made, for such a name for example.
    #[error("a certificate cannot be made")]
    Certificate(#[from] rcgen::Error),
    /// A certificate and its key cannot be served.
    #[error("a certificate cannot be served")]
    Serve(#[from] rustls::Error),
    /// The system refused a port.
    #[error("the system refused what a server needs")]
    Io(#[from] io::Error),
}

impl Classified for TlsError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Certificate(_) | Self::Serve(_) => ErrorClass::Invalid,
            Self::Io(_) => ErrorClass::Permanent,
        }
    }
}

/// A certificate authority of a test's own, which nobody trusts who was not told to.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, for the names that it was issued for.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    /// Makes an authority with a key of its own.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when the system has no chance to give.
    pub fn new() -> Result<Self, TlsError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// Its certificate as PEM, for those who are to trust it.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for names and addresses.
    ///
    /// # Errors
    ///
    /// [`TlsError`] for what is no name.
    pub fn issue(&self, names: &[&str]) -> Result<Identity, TlsError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?.signed_by(&key, &self.issuer)?;
        Ok(Identity {
            chain: vec![certificate.der().clone()],
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        })
    }
}

/// A server that takes TLS off and passes on what is in it to another one. It ends when it is dropped.
#[derive(Debug)]
pub struct TlsServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl TlsServer {
    /// Listens on a free port of 127.0.0.1 with this certificate, before a server without TLS. It needs a tokio
    /// runtime with I/O.
    ///
    /// # Errors
    ///
    /// [`TlsError`] when there is no port, or the certificate is none.
    pub async fn start(identity: Identity, upstream: SocketAddr) -> Result<Self, TlsError> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let accepting = tokio::spawn(accept(listener, TlsAcceptor::from(Arc::new(config)), upstream));
        Ok(Self { address, accepting })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        // The task owns the listener and, in a set, the tasks of all connections.
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, upstream: SocketAddr) {
    let mut links = JoinSet::new();
    loop {
        tokio::select! {
            Ok((client, _)) = listener.accept() => {
                links.spawn(serve(client, acceptor.clone(), upstream));
            }
            Some(_) = links.join_next() => {}
        }
    }
}

/// A client that does not like the certificate hangs up, which is what a test wants to see and no error here.
async fn serve(client: TcpStream, acceptor: TlsAcceptor, upstream: SocketAddr) {
    let _ = client.set_nodelay(true);
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    let _ = server.set_nodelay(true);
    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
}
