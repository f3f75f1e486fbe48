//! The one place where errors become HTTP: a status and `{"message": …}`, with a `hint` beside it where we know
//! what to do next. The message is Docker's, which scripts match; Docker's clients pass over the hint.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::api::reply;
use crate::engine::{EngineError, ErrorKind};

const NO_SWARM: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";

/// What a client gets in place of what it asked for.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    message: String,
    hint: Option<String>,
}

impl ApiError {
    /// With these words.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None }
    }

    /// 400 for a parameter or a body that cannot be read.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// For a route that the router does not know, as moby words it.
    pub(crate) fn page_not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "page not found")
    }

    /// For what only a swarm has.
    pub(crate) fn no_swarm() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, NO_SWARM)
    }

    /// For what Holm cannot do yet, as in `build images`.
    pub(crate) fn not_yet(what: &str) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, format!("Holm {} cannot {what} yet", holm_api::VERSION))
    }

    /// The same error with what was attempted in front.
    pub(crate) fn while_doing(mut self, doing: &str) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// As the last line of a progress stream, whose status cannot change any more.
    pub(crate) fn into_line(self) -> Value {
        let mut line = json!({ "errorDetail": { "message": self.message }, "error": self.message });
        if let Some(hint) = self.hint {
            line["hint"] = json!(hint);
        }
        line
    }

    #[cfg(test)]
    pub(crate) fn into_parts(self) -> (StatusCode, String) {
        (self.status, self.message)
    }
}

impl From<EngineError> for ApiError {
    fn from(error: EngineError) -> Self {
        let status = match error.kind() {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let hint = error.hint().map(str::to_owned);
        let message = error.to_string();
        if status == StatusCode::INTERNAL_SERVER_ERROR {
            tracing::error!("{message}");
        }
        Self { status, message, hint }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut body = json!({ "message": self.message });
        if let Some(hint) = self.hint {
            body["hint"] = json!(hint);
        }
        reply::json(self.status, &body)
    }
}
