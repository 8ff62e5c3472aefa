//! One file over HTTP into a [`PartFile`], continued where an earlier transfer stopped.
//!
//! A download is continued with `Range` and `If-Range` (RFC 9110, sections 13.1.5 and 14): the answer is 206 with the
//! rest if the server's file is unchanged, and 200 with the whole file otherwise.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body, Error};

use super::error::CorpusError;
use super::files::ensure_space;
use super::part_file::{Origin, PartFile};
use super::progress::{CorpusProgress, ProgressCallback};

const BUFFER_BYTES: usize = 1 << 16;

/// What a transfer needs to know.
pub(super) struct Transfer<'a> {
    pub(super) url: &'a str,
    /// Where the file may be put by hand, for messages; its file system is what must have room.
    pub(super) folder: &'a Path,
    pub(super) connect_timeout: Duration,
    /// The longest that the server may say nothing.
    pub(super) stall_timeout: Duration,
    /// How often a broken connection is made again; each attempt must receive something.
    pub(super) retries: u32,
    /// Bytes that must be free besides those of the file itself.
    pub(super) spare_bytes: u64,
}

impl Transfer<'_> {
    /// Completes `part`; returns the number of bytes received.
    pub(super) fn run(
        &self,
        part: &mut PartFile,
        progress: &mut ProgressCallback,
    ) -> Result<u64, CorpusError> {
        let agent = self.agent();
        let mut retries = self.retries;
        let mut came = 0;
        loop {
            let mut came_now = 0;
            match self.attempt(&agent, part, &mut came_now, progress) {
                Ok(()) => return Ok(came + came_now),
                Err(CorpusError::BrokenOff { .. }) if came_now > 0 && retries > 0 => {
                    came += came_now;
                    retries -= 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn agent(&self) -> Agent {
        let config = Agent::config_builder()
            .timeout_resolve(Some(self.connect_timeout))
            .timeout_connect(Some(self.connect_timeout))
            .timeout_recv_response(Some(self.stall_timeout))
            .timeout_per_read(Some(self.stall_timeout))
            .http_status_as_error(false);
        // This machine is reached without a proxy, whatever the environment says.
        let is_here = self.url.starts_with("http://127.0.0.1:");
        let config = if is_here { config.proxy(None) } else { config };
        config.build().new_agent()
    }

    fn attempt(
        &self,
        agent: &Agent,
        part: &mut PartFile,
        came: &mut u64,
        progress: &mut ProgressCallback,
    ) -> Result<(), CorpusError> {
        let mut start = part.length()?;
        let origin = part.origin(self.url).filter(|_| start > 0);
        if origin.as_ref().is_some_and(|origin| origin.bytes == Some(start)) {
            return Ok(());
        }
        let mut response = self.request(agent, origin.as_ref().map(|origin| (origin, start)))?;
        let is_rest = origin.as_ref().is_some_and(|origin| continues(&response, origin, start));
        let is_other_range = matches!(
            response.status(),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE
        );
        if !is_rest && is_other_range {
            response = self.request(agent, None)?;
        }
        if !is_rest {
            self.expect_whole(&response)?;
            part.restart(&self.origin_of(&response))?;
            start = 0;
        }
        let rest = number(&response, "content-length");
        ensure_space(self.folder, rest.unwrap_or(0).saturating_add(self.spare_bytes))?;
        let of = rest.map(|rest| start + rest);
        self.receive(response, part, &mut Received { bytes: start, of, came }, progress)
    }

    /// Asks for the whole file, or for what follows the first bytes of it.
    fn request(
        &self,
        agent: &Agent,
        rest: Option<(&Origin, u64)>,
    ) -> Result<Response<Body>, CorpusError> {
        // The archive's own bytes, whatever a server may like to pack on the way.
        let mut request = agent.get(self.url).header("accept-encoding", "identity");
        if let Some((origin, start)) = rest {
            request = request.header("range", format!("bytes={start}-"));
            if !origin.validator.is_empty() {
                request = request.header("if-range", &origin.validator);
            }
        }
        request.call().map_err(|error| self.unreachable(&error))
    }

    fn expect_whole(&self, response: &Response<Body>) -> Result<(), CorpusError> {
        match response.status() {
            StatusCode::OK => Ok(()),
            status => {
                let answer = status.to_string();
                Err(CorpusError::Refused { url: self.url.to_owned(), answer })
            }
        }
    }

    fn receive(
        &self,
        response: Response<Body>,
        part: &mut PartFile,
        received: &mut Received,
        progress: &mut ProgressCallback,
    ) -> Result<(), CorpusError> {
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let told = CorpusProgress::Downloading { bytes: received.bytes, of: received.of };
            if progress(told).is_break() {
                return Err(CorpusError::Interrupted);
            }
            let broken_off = |reason: String| CorpusError::BrokenOff {
                url: self.url.to_owned(),
                bytes: received.bytes,
                reason,
            };
            match body.read(&mut buffer) {
                Ok(0) if received.of.is_some_and(|of| received.bytes < of) => {
                    return Err(broken_off("the connection was closed".to_owned()));
                }
                Ok(0) => return Ok(()),
                Ok(count) => {
                    part.append(&buffer[..count])?;
                    received.bytes += count as u64;
                    *received.came += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(broken_off(error.to_string())),
            }
        }
    }

    fn origin_of(&self, response: &Response<Body>) -> Origin {
        let validator = validator(response).to_owned();
        Origin { url: self.url.to_owned(), validator, bytes: number(response, "content-length") }
    }

    fn unreachable(&self, error: &Error) -> CorpusError {
        CorpusError::Unreachable {
            url: self.url.to_owned(),
            reason: error.to_string(),
            folder: self.folder.to_owned(),
        }
    }
}

/// How far a transfer is.
struct Received<'a> {
    /// Bytes of the file that are here.
    bytes: u64,
    of: Option<u64>,
    /// Bytes that this attempt brought.
    came: &'a mut u64,
}

/// Whether an answer is the rest of the very file that the part belongs to.
fn continues(response: &Response<Body>, origin: &Origin, start: u64) -> bool {
    let range = header(response, "content-range");
    let parsed = range.strip_prefix("bytes ").and_then(|range| {
        let (span, length) = range.split_once('/')?;
        let (first, _) = span.split_once('-')?;
        Some((first.parse::<u64>().ok()?, length.parse::<u64>().ok()))
    });
    let Some((first, length)) = parsed else { return false };
    let is_same_length = length.is_none() || origin.bytes.is_none() || length == origin.bytes;
    // A server need not repeat the validator when it was asked with one.
    let is_same_file = match validator(response) {
        "" => true,
        validator => validator == origin.validator,
    };
    response.status() == StatusCode::PARTIAL_CONTENT
        && first == start
        && is_same_length
        && is_same_file
}

/// What `If-Range` takes: a strong tag, else the date of the last change.
fn validator(response: &Response<Body>) -> &str {
    match header(response, "etag") {
        tag if tag.starts_with('"') => tag,
        _ => header(response, "last-modified"),
    }
}

fn number(response: &Response<Body>, name: &str) -> Option<u64> {
    header(response, name).parse().ok()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
