//! Bodies that a publisher compressed: decoded within bounds, or refused by the coding's name. Nothing encoded is taken for plain.

use std::io::Read;

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use hookyard_core::{Refusal, RefusalReason};

/// A way to compress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    Gzip,
    /// Zlib's format or the bare one: both are called so (RFC 9110 §8.4.1.2).
    Deflate,
    Zstd,
    Brotli,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
            Self::Brotli => "br",
        }
    }
}

/// Memory that a zstd stream may ask for: its window, as a power of two. Eight mebibytes are what RFC 9659 lets a sender use.
const ZSTD_WINDOW_LOG_MOST: u32 = 23;
/// What a brotli decoder reads at once.
const BROTLI_BUFFER: usize = 4096;

/// Names that mean a body is as it is.
const PLAIN: [&str; 7] = ["", "identity", "utf-8", "utf8", "us-ascii", "ascii", "binary"];

/// The body, decoded as `content_encoding` says, and `compression`, a header in which the library Kombu says it instead. At most
/// `most` bytes.
pub(crate) fn decoded(
    body: Bytes,
    content_encoding: Option<&str>,
    compression: Option<&str>,
    most: usize,
) -> Result<Bytes, Refusal> {
    let mut codings = codings(content_encoding.unwrap_or_default())?;
    codings.extend(compression.map(of_kombu).transpose()?);
    match codings[..] {
        [] => Ok(body),
        [coding] => decode(&body, coding, most),
        _ => Err(refused("a body that is compressed twice: send it compressed once".to_owned())),
    }
}

/// What the beginning of a response holds when decoded, as much of it as can be, in at most `most` bytes; `None` if that is nothing.
pub fn beginning(read: &[u8], content_encoding: &str, most: usize) -> Option<Bytes> {
    let [coding] = codings(content_encoding).ok()?[..] else { return None };
    let mut plain = Vec::new();
    let mut decoder = reader(read, coding).ok()?.take(u64::try_from(most).unwrap_or(u64::MAX));
    // It may be cut off: what came before that was written all the same.
    decoder.read_to_end(&mut plain).ok();
    (!plain.is_empty()).then(|| plain.into())
}

/// The codings of a list. Some libraries add the text's encoding to it: Spring's has `gzip, UTF-8` and, in older ones, `gzip:UTF-8`.
fn codings(list: &str) -> Result<Vec<Coding>, Refusal> {
    let names = list.split([',', ':']).map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !PLAIN.contains(&name.as_str())).map(|name| named(&name)).collect()
}

fn named(name: &str) -> Result<Coding, Refusal> {
    match name {
        "gzip" | "x-gzip" => Ok(Coding::Gzip),
        "deflate" | "zlib" => Ok(Coding::Deflate),
        "zstd" => Ok(Coding::Zstd),
        "br" => Ok(Coding::Brotli),
        other => {
            let shown: String = other.chars().take(40).collect::<String>().escape_default().collect();
            Err(refused(format!("content_encoding \"{shown}\": send the body as it is, or as gzip, deflate, zstd or br")))
        }
    }
}

/// Kombu calls zlib's format gzip.
fn of_kombu(name: &str) -> Result<Coding, Refusal> {
    match name {
        "application/x-gzip" => Ok(Coding::Deflate),
        "application/zstd" => Ok(Coding::Zstd),
        "application/x-brotli" => Ok(Coding::Brotli),
        _ => Err(refused("header compression: send the body as it is, or compressed as gzip, zstd or brotli".to_owned())),
    }
}

/// Whether a header `compression` is Kombu's.
pub(crate) fn is_kombu(compression: &str) -> bool {
    compression.starts_with("application/")
}

fn decode(body: &[u8], coding: Coding, most: usize) -> Result<Bytes, Refusal> {
    match coding {
        Coding::Deflate if is_zlib(body) => read_whole(body, ZlibDecoder::new, |decoder| decoder.into_inner(), most),
        Coding::Deflate => read_whole(body, DeflateDecoder::new, |decoder| decoder.into_inner(), most),
        other => read_all(reader(body, other)?, other.name(), most),
    }
}

fn reader<'a>(body: &'a [u8], coding: Coding) -> Result<Box<dyn Read + 'a>, Refusal> {
    Ok(match coding {
        Coding::Gzip => Box::new(MultiGzDecoder::new(body)),
        Coding::Deflate if is_zlib(body) => Box::new(ZlibDecoder::new(body)),
        Coding::Deflate => Box::new(DeflateDecoder::new(body)),
        // The reserved first byte of a window that is larger than RFC 7932 §9.1 lets any decoder need.
        Coding::Brotli if body.first().is_some_and(|first| first & 0x7f == 0x11) => return Err(broken("br")),
        Coding::Brotli => Box::new(brotli_decompressor::Decompressor::new(body, BROTLI_BUFFER)),
        Coding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(|_| broken("zstd"))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MOST).map_err(|_| broken("zstd"))?;
            Box::new(decoder)
        }
    })
}

/// Of a format that ends by itself: nothing may come after it.
fn read_whole<'a, D: Read>(
    body: &'a [u8],
    decoder: impl FnOnce(&'a [u8]) -> D,
    rest: impl FnOnce(D) -> &'a [u8],
    most: usize,
) -> Result<Bytes, Refusal> {
    let mut decoder = decoder(body);
    let plain = read_all(&mut decoder, "deflate", most)?;
    if rest(decoder).is_empty() { Ok(plain) } else { Err(broken("deflate")) }
}

fn read_all(decoder: impl Read, name: &str, most: usize) -> Result<Bytes, Refusal> {
    let mut plain = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(limit).read_to_end(&mut plain).map_err(|_| broken(name))?;
    if plain.len() > most {
        return Err(Refusal::new(RefusalReason::TooLarge, format!("a {name} body of more than {most} bytes when decoded")));
    }
    Ok(plain.into())
}

/// Zlib's header (RFC 1950 §2.2): the method is 8, and the two bytes are a multiple of 31.
fn is_zlib(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31))
}

fn broken(name: &str) -> Refusal {
    refused(format!("the body is no valid {name}, as its content_encoding says"))
}

fn refused(detail: String) -> Refusal {
    Refusal::new(RefusalReason::Unreadable, detail)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    const PLAIN_BODY: &[u8] = br#"{"data": {"order": 4711, "order": 4711, "order": 4711}}"#;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("written");
        encoder.finish().expect("gzip")
    }

    fn zlib(data: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("written");
        encoder.finish().expect("zlib")
    }

    fn deflate(data: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(data).expect("written");
        encoder.finish().expect("deflate")
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        zstd::stream::encode_all(data, 3).expect("zstd")
    }

    /// Python's `brotli` 1.2.0 made it of [`PLAIN_BODY`].
    const BROTLI: &[u8] = include_bytes!("testdata/brotli.bin");

    fn read(body: &[u8], content_encoding: &str) -> Result<Bytes, Refusal> {
        decoded(Bytes::copy_from_slice(body), Some(content_encoding), None, 1000)
    }

    #[test]
    fn every_coding_is_decoded() {
        let cases = [
            (gzip(PLAIN_BODY), "gzip"),
            (gzip(PLAIN_BODY), "GZIP"),
            (gzip(PLAIN_BODY), "gzip, UTF-8"),
            (gzip(PLAIN_BODY), "gzip:UTF-8"),
            ([gzip(&PLAIN_BODY[..5]), gzip(&PLAIN_BODY[5..])].concat(), "gzip"),
            (zlib(PLAIN_BODY), "deflate"),
            (deflate(PLAIN_BODY), "deflate"),
            (zstd(PLAIN_BODY), "zstd"),
            (BROTLI.to_vec(), "br"),
            (PLAIN_BODY.to_vec(), "utf-8"),
            (PLAIN_BODY.to_vec(), "identity"),
            (PLAIN_BODY.to_vec(), ""),
            (PLAIN_BODY.to_vec(), "binary"),
        ];
        for (body, coding) in cases {
            assert_eq!(read(&body, coding).expect(coding), PLAIN_BODY, "{coding}");
        }
        let by_kombu = decoded(zlib(PLAIN_BODY).into(), Some("utf-8"), Some("application/x-gzip"), 1000);
        assert_eq!(by_kombu.expect("decoded"), PLAIN_BODY);
    }

    #[test]
    fn what_is_not_decoded_is_refused_by_name() {
        for coding in ["base64", "iso-8859-1", "utf-16", "lz4", "compress", "aes"] {
            let refusal = read(PLAIN_BODY, coding).expect_err("refused");
            assert!(refusal.detail.contains(coding), "{}", refusal.detail);
        }
        let twice = read(&gzip(&zstd(PLAIN_BODY)), "zstd, gzip").expect_err("refused");
        assert!(twice.detail.contains("twice"), "{}", twice.detail);
        for kombu in ["application/x-bz2", "application/x-lzma"] {
            assert!(decoded(Bytes::new(), None, Some(kombu), 10).is_err(), "{kombu}");
        }
    }

    #[test]
    fn what_is_cut_off_broken_or_followed_by_more_is_refused() {
        let more = |mut body: Vec<u8>| {
            body.extend_from_slice(b"more");
            body
        };
        let cut = |body: Vec<u8>| body[..body.len() - 3].to_vec();
        for (body, coding) in [
            (cut(gzip(PLAIN_BODY)), "gzip"),
            (cut(zlib(PLAIN_BODY)), "deflate"),
            (cut(deflate(PLAIN_BODY)), "deflate"),
            (cut(zstd(PLAIN_BODY)), "zstd"),
            (cut(BROTLI.to_vec()), "br"),
            (more(gzip(PLAIN_BODY)), "gzip"),
            (more(zlib(PLAIN_BODY)), "deflate"),
            (more(deflate(PLAIN_BODY)), "deflate"),
            (more(zstd(PLAIN_BODY)), "zstd"),
            (PLAIN_BODY.to_vec(), "gzip"),
            (PLAIN_BODY.to_vec(), "deflate"),
            (PLAIN_BODY.to_vec(), "zstd"),
            (PLAIN_BODY.to_vec(), "br"),
            (Vec::new(), "gzip"),
            (Vec::new(), "deflate"),
            (Vec::new(), "zstd"),
            (Vec::new(), "br"),
        ] {
            let read = read(&body, coding);
            assert_eq!(read.as_ref().map_err(|refusal| refusal.reason), Err(RefusalReason::Unreadable), "{coding}: {read:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let large = vec![0_u8; 64 * 1024 * 1024];
        for (body, coding) in [(gzip(&large), "gzip"), (zlib(&large), "deflate"), (zstd(&large), "zstd")] {
            assert_eq!(read(&body, coding).expect_err("refused").reason, RefusalReason::TooLarge, "{coding}");
        }
    }
}
