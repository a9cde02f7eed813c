//! The fields of a protobuf message in a file, without reading what lies inside the long ones.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// A part of the file: a message, a text, an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    start: u64,
    end: u64,
}

impl Span {
    pub(super) fn bytes(self) -> u64 {
        self.end - self.start
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Varint(u64),
    /// A message, a text, or packed numbers.
    Span(Span),
    /// Four or eight bytes, which are left unread.
    Fixed,
}

/// Finds fields in a file.
pub(super) struct Scanner {
    file: BufReader<File>,
    /// Where the next byte is read.
    at: u64,
    length: u64,
}

impl Scanner {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        Ok(Self { file: BufReader::new(file), at: 0, length })
    }

    /// The message that is the whole file.
    pub(super) fn whole(&self) -> Span {
        Span { start: 0, end: self.length }
    }

    /// The number and the content of the first field of `message`, which then begins behind it; `None` if it has none.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when these bytes are no protobuf message.
    pub(super) fn next(&mut self, message: &mut Span) -> io::Result<Option<(u64, Field)>> {
        if message.bytes() == 0 {
            return Ok(None);
        }
        let key = self.varint(message)?;
        let field = match key & 7 {
            0 => Field::Varint(self.varint(message)?),
            1 => self.skip(message, 8).map(|_| Field::Fixed)?,
            2 => {
                let length = self.varint(message)?;
                Field::Span(self.skip(message, length)?)
            }
            5 => self.skip(message, 4).map(|_| Field::Fixed)?,
            _ => return Err(damaged()),
        };
        Ok(Some((key >> 3, field)))
    }

    /// A number at the start of `message`, which then begins behind it.
    pub(super) fn varint(&mut self, message: &mut Span) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let mut byte = [0];
            self.read(self.skip(message, 1)?, &mut byte)?;
            value |= u64::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged())
    }

    /// The first bytes of `message`, which then begins behind them.
    pub(super) fn skip(&self, message: &mut Span, bytes: u64) -> io::Result<Span> {
        if bytes > message.bytes() {
            return Err(damaged());
        }
        let start = message.start;
        message.start += bytes;
        Ok(Span { start, end: message.start })
    }

    /// Reads the first bytes of `span`, which holds no fewer than `to`.
    pub(super) fn read(&mut self, span: Span, to: &mut [u8]) -> io::Result<()> {
        // Both lie in a file, whose length fits into i64.
        self.file.seek_relative(span.start as i64 - self.at as i64)?;
        self.at = span.start;
        self.file.read_exact(to)?;
        self.at += to.len() as u64;
        Ok(())
    }

    /// A name; one that is longer than any layer's is cut.
    pub(super) fn text(&mut self, span: Span) -> io::Result<String> {
        let mut bytes = [0; 200];
        let length = bytes.len().min(usize::try_from(span.bytes()).unwrap_or(usize::MAX));
        self.read(span, &mut bytes[..length])?;
        Ok(String::from_utf8_lossy(&bytes[..length]).into_owned())
    }
}

fn damaged() -> io::Error {
    io::Error::new(ErrorKind::InvalidData, "it is cut short or damaged")
}
