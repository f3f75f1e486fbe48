//! Routes of the Engine API that are not served: those of a swarm, as a daemon answers that is in none, and
//! those that Holm does not have yet, each with a sentence that says so.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use http::Method;

use crate::api::error::ApiError;
use crate::engine::Engine;

/// All of them.
pub(crate) fn router() -> Router<Arc<Engine>> {
    swarm().merge(not_yet())
}

fn swarm() -> Router<Arc<Engine>> {
    let refuse = async || ApiError::no_swarm();
    let mut router = Router::new();
    for kind in ["services", "nodes", "secrets", "configs", "tasks"] {
        router = router.route(&format!("/{kind}"), get(refuse));
        router = router.route(&format!("/{kind}/{{id}}"), get(refuse).delete(refuse));
    }
    for kind in ["services", "secrets", "configs"] {
        router = router.route(&format!("/{kind}/create"), post(refuse));
    }
    for kind in ["services", "nodes", "secrets", "configs"] {
        router = router.route(&format!("/{kind}/{{id}}/update"), post(refuse));
    }
    router
        .route("/services/{id}/logs", get(refuse))
        .route("/tasks/{id}/logs", get(refuse))
        .route("/swarm", get(refuse))
        .route("/swarm/unlockkey", get(refuse))
        .route("/swarm/update", post(refuse))
        .route("/swarm/leave", post(refuse))
        .route("/swarm/init", post(async || ApiError::not_yet("be part of a swarm")))
        .route("/swarm/join", post(async || ApiError::not_yet("be part of a swarm")))
        .route("/swarm/unlock", post(refuse))
}

/// Method, path, and what Holm cannot do yet.
const NOT_YET: &[(Method, &str, &str)] = &[
    (Method::POST, "/build", "build images"),
    (Method::POST, "/build/cancel", "build images"),
    (Method::POST, "/session", "build images"),
    (Method::POST, "/grpc", "build images"),
    (Method::GET, "/plugins", "run plugins"),
];

fn not_yet() -> Router<Arc<Engine>> {
    NOT_YET.iter().fold(Router::new(), |router, (method, path, what)| {
        let refuse = async move || ApiError::not_yet(what);
        let route = match *method {
            Method::GET => get(refuse),
            Method::PUT => put(refuse),
            _ => post(refuse),
        };
        router.route(path, route)
    })
}
