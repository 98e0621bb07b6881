//! A publisher that writes its own bytes, as clients in other languages do: what no careful library would let through.

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// Ends every frame.
const END: u8 = 0xce;

/// A connection with one channel in confirm mode.
pub struct RawAmqp {
    stream: TcpStream,
    prefix: String,
    published: u64,
}

/// Property flags and values of a content header, written one after another.
#[derive(Clone, Debug, Default)]
pub struct RawProperties {
    flags: u16,
    values: Vec<u8>,
}

impl RawProperties {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Content type; each of these must come in the order of the protocol, which is that of these methods.
    #[must_use]
    pub fn content_type(self, text: &[u8]) -> Self {
        self.short(15, text)
    }

    /// Headers: names, and values with their tags.
    #[must_use]
    pub fn headers(mut self, entries: &[(&[u8], Vec<u8>)]) -> Self {
        let mut table = Vec::new();
        for (name, value) in entries {
            table.extend_from_slice(&short(name));
            table.extend_from_slice(value);
        }
        self.flags |= 1 << 13;
        self.values.extend_from_slice(&long(&table));
        self
    }

    /// Persistent.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.flags |= 1 << 12;
        self.values.push(2);
        self
    }

    /// Correlation id.
    #[must_use]
    pub fn correlation_id(self, text: &[u8]) -> Self {
        self.short(10, text)
    }

    /// Message id.
    #[must_use]
    pub fn message_id(self, text: &[u8]) -> Self {
        self.short(7, text)
    }

    /// Type.
    #[must_use]
    pub fn kind(self, text: &[u8]) -> Self {
        self.short(5, text)
    }

    /// Flags and values as they are.
    #[must_use]
    pub fn raw(flags: u16, values: Vec<u8>) -> Self {
        Self { flags, values }
    }

    fn short(mut self, bit: u16, text: &[u8]) -> Self {
        self.flags |= 1 << bit;
        self.values.extend_from_slice(&short(text));
        self
    }
}

/// A short string: its length in a byte.
#[must_use]
pub fn short(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(text.len()).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(&text[..text.len().min(usize::from(u8::MAX))]);
    bytes
}

/// Bytes behind their length in four.
#[must_use]
pub fn long(bytes: &[u8]) -> Vec<u8> {
    let mut written = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    written.extend_from_slice(bytes);
    written
}

/// A header's value behind its tag.
#[must_use]
pub fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(value);
    bytes
}

/// So many lists in one another.
#[must_use]
pub fn nested(depth: usize) -> Vec<u8> {
    let mut value = b"V".to_vec();
    for _ in 0..depth {
        value = tagged(b'A', &long(&value));
    }
    value
}

impl RawAmqp {
    /// Connects to a broker at `amqp://user:password@host:port/vhost`.
    ///
    /// # Errors
    /// When the broker does not take the connection.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self> {
        let url: Url = url.parse()?;
        let host = url.host_str().context("a host")?;
        let stream = TcpStream::connect((host, url.port().unwrap_or(5672))).await?;
        let mut this = Self { stream, prefix: prefix.to_owned(), published: 0 };
        this.stream.write_all(b"AMQP\0\0\x09\x01").await?;
        this.expect(10, 10).await?;
        let login = format!("\0{}\0{}", url.username(), url.password().unwrap_or_default());
        let start_ok = [long(b""), short(b"PLAIN"), long(login.as_bytes()), short(b"en_US")].concat();
        this.method(0, 10, 11, &start_ok).await?;
        let tune = this.expect(10, 30).await?;
        // As proposed, and without heartbeats.
        this.method(0, 10, 31, &[&tune[4..10], &[0, 0]].concat()).await?;
        let vhost = url.path().trim_start_matches('/').replace("%2f", "/").replace("%2F", "/");
        this.method(0, 10, 40, &[short(vhost.as_bytes()), short(b""), vec![0]].concat()).await?;
        this.expect(10, 41).await?;
        this.method(1, 20, 10, &short(b"")).await?;
        this.expect(20, 11).await?;
        this.method(1, 85, 10, &[0]).await?;
        this.expect(85, 11).await?;
        Ok(this)
    }

    /// Publishes to an exchange, named without the prefix, and waits for the confirm.
    ///
    /// # Errors
    /// When the broker does not confirm it: what it says instead.
    pub async fn publish_to(&mut self, exchange: &str, key: &[u8], properties: &RawProperties, body: &[u8]) -> Result<()> {
        let exchange = format!("{}.{exchange}", self.prefix);
        let publish = [vec![0, 0], short(exchange.as_bytes()), short(key), vec![0]].concat();
        self.method(1, 60, 40, &publish).await?;
        let size = u64::try_from(body.len())?.to_be_bytes();
        let header = [&[0, 60, 0, 0][..], &size, &properties.flags.to_be_bytes(), &properties.values].concat();
        self.frame(2, 1, &header).await?;
        for part in body.chunks(100_000) {
            self.frame(3, 1, part).await?;
        }
        self.expect(60, 80).await?;
        self.published += 1;
        Ok(())
    }

    /// The same to the exchange of events.
    ///
    /// # Errors
    /// When the broker does not confirm it.
    pub async fn publish(&mut self, key: &[u8], properties: &RawProperties, body: &[u8]) -> Result<()> {
        self.publish_to("events", key, properties, body).await
    }

    async fn method(&mut self, channel: u16, class: u16, method: u16, arguments: &[u8]) -> Result<()> {
        self.frame(1, channel, &[&class.to_be_bytes()[..], &method.to_be_bytes(), arguments].concat()).await
    }

    async fn frame(&mut self, kind: u8, channel: u16, payload: &[u8]) -> Result<()> {
        let mut bytes = vec![kind];
        bytes.extend_from_slice(&channel.to_be_bytes());
        bytes.extend_from_slice(&long(payload));
        bytes.push(END);
        Ok(self.stream.write_all(&bytes).await?)
    }

    /// Waits for a method and gives back its payload; any other is an error.
    async fn expect(&mut self, class: u16, method: u16) -> Result<Vec<u8>> {
        loop {
            let mut head = [0; 7];
            self.stream.read_exact(&mut head).await.context("the broker closed the connection")?;
            let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
            let mut payload = vec![0; usize::try_from(size)? + 1];
            self.stream.read_exact(&mut payload).await?;
            ensure!(payload.pop() == Some(END), "a frame without its end");
            match (head[0], payload.get(..4)) {
                (1, Some(found)) if found == [class.to_be_bytes(), method.to_be_bytes()].concat() => return Ok(payload),
                (1, Some(found)) => bail!("not {class}.{method} but {found:?}: {}", String::from_utf8_lossy(&payload)),
                _ => {}
            }
        }
    }
}
