//! Two services on one socket. tonic's own way to do this brings a web framework along.

use std::convert::Infallible;
use std::task::{Context, Poll};

use ringway_proto::kubevirt::info::info_server::{self, InfoServer};
use ringway_proto::kubevirt::v1alpha3::callbacks_server::CallbacksServer;
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Service, http};

use crate::hook::Hook;

/// Takes each call to the service that it names.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    info: InfoServer<Hook>,
    callbacks: CallbacksServer<Hook>,
}

impl Services {
    pub(crate) fn new(hook: Hook) -> Self {
        Self { info: InfoServer::new(hook.clone()), callbacks: CallbacksServer::new(hook) }
    }
}

impl Service<http::Request<Body>> for Services {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Self::Error>;

    /// Both services are always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// A path is `/SERVICE/METHOD` (gRPC over HTTP/2, "Requests"); what neither service knows, the
    /// second one refuses as unimplemented.
    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = request.uri().path().split('/').nth(1);
        if service == Some(info_server::SERVICE_NAME) {
            self.info.call(request)
        } else {
            self.callbacks.call(request)
        }
    }
}
