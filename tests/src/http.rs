//! The least of an HTTP/1.1 client: one request a connection, over TCP or a Unix socket, with nothing between a
//! test and the bytes that came.

use std::io::{BufRead, BufReader, Read, Write};

use anyhow::{Context, Result, bail, ensure};

/// What is asked.
pub struct Request<'a> {
    /// `GET`, `PUT`, …
    pub method: &'a str,
    /// `Host`.
    pub host: &'a str,
    /// With its query, encoded.
    pub path: &'a str,
    /// `Content-Type` of the body; `None` sends none.
    pub content_type: Option<&'a str>,
    /// May be empty.
    pub body: &'a [u8],
}

/// What came.
#[derive(Debug)]
pub struct Response {
    /// Its code.
    pub status: u16,
    /// Names in lower case, in order.
    pub headers: Vec<(String, String)>,
    /// Whole and decoded.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends the request and reads the answer to its end.
pub fn exchange(mut stream: impl Read + Write, request: &Request) -> Result<Response> {
    let content_type = request.content_type.map(|of| format!("Content-Type: {of}\r\n")).unwrap_or_default();
    write!(
        stream,
        "{} {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{content_type}Content-Length: {}\r\n\r\n",
        request.method,
        request.path,
        request.host,
        request.body.len()
    )?;
    stream.write_all(request.body)?;
    stream.flush()?;
    read_response(&mut BufReader::new(stream))
}

fn read_response(stream: &mut impl BufRead) -> Result<Response> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.with_context(|| format!("no status in `{first}`"))?;
    let mut headers = Vec::new();
    loop {
        let text = line(stream)?;
        let Some((name, value)) = text.split_once(':') else {
            ensure!(text.is_empty(), "no header: `{text}`");
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = read_chunks(stream)?;
    } else if let Some(length) = response.header("content-length") {
        stream.take(length.parse()?).read_to_end(&mut response.body)?;
    } else {
        stream.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_chunks(stream: &mut impl BufRead) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let head = line(stream)?;
        let size = u64::from_str_radix(head.split(';').next().unwrap_or_default().trim(), 16)?;
        let read = stream.take(size).read_to_end(&mut body)? as u64;
        ensure!(read == size, "the answer ends inside a chunk");
        line(stream)?;
        if size == 0 {
            return Ok(body);
        }
    }
}

fn line(stream: &mut impl BufRead) -> Result<String> {
    let mut text = String::new();
    if stream.read_line(&mut text)? == 0 {
        bail!("the answer ends before its time");
    }
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_put_together() {
        let bytes = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        let response = read_response(&mut bytes.as_slice()).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "abc0123456789"));
    }

    #[test]
    fn a_body_ends_where_its_length_says() {
        let bytes = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nX: y\r\n\r\nnot this";
        let response = read_response(&mut bytes.as_slice()).unwrap();
        assert_eq!((response.status, response.text().as_str(), response.header("x")), (404, "no", Some("y")));
    }

    #[test]
    fn an_answer_that_stops_inside_a_chunk_is_an_error() {
        assert!(
            read_response(&mut b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab".as_slice())
                .is_err()
        );
    }
}
