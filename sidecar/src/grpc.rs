//! The gRPC door: `tollgate.v1.Gate` and gRPC health, on the HTTP door's socket.
//!
//! Messages become the same requests as AuthZEN bodies (`tollgate_proto::gate`). A denial is OK with
//! `decision` false; a message that is no request is INVALID_ARGUMENT.

use crate::http::{Answer, tenant};
use crate::metrics::Door;
use crate::shared::Shared;
use http::Request;
use http_body_util::Either;
use hyper::body::Incoming;
use std::sync::Arc;
use std::time::Duration;
use tollgate_engine::bounds::FRAME_BYTES_MAX;
use tollgate_engine::{Scratch, SettleCode};
use tollgate_proto::authzen::{Asked, DecisionBody, Fault, Semantic, what_to_do};
use tollgate_proto::gate::gate_server::{Gate, GateServer};
use tollgate_proto::gate::{
    BatchCheckRequest, BatchCheckResponse, CheckRequest, CheckResponse, SettleRequest,
    SettleResponse,
};
use tollgate_proto::owned::OwnedRequest;
use tonic::Status;
use tonic::codegen::Service;

use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

const GATE: &str = "tollgate.v1.Gate";
const HEALTH: &str = "/grpc.health.v1.Health/";

/// Time between two looks at whether the sidecar is ready.
const HEALTH_INTERVAL: Duration = Duration::from_millis(200);

/// Both services.
pub(crate) struct Grpc {
    gate: GateServer<Answers>,
    health: HealthServer<HealthService>,
    reporter: HealthReporter,
    shared: Arc<Shared>,
}

impl Grpc {
    pub(crate) fn new(shared: Arc<Shared>) -> Grpc {
        let reporter = HealthReporter::new();
        let gate = GateServer::new(Answers { shared: Arc::clone(&shared) });
        Grpc {
            gate: gate.max_decoding_message_size(FRAME_BYTES_MAX),
            health: HealthServer::new(HealthService::from_health_reporter(reporter.clone())),
            reporter,
            shared,
        }
    }

    /// Whether a path is one of a gRPC service of ours.
    pub(crate) fn is_call(path: &str) -> bool {
        let gate = path.strip_prefix('/').and_then(|path| path.strip_prefix(GATE));
        gate.is_some_and(|method| method.starts_with('/')) || path.starts_with(HEALTH)
    }

    /// Answers a call whose message must be complete within `limit`.
    pub(crate) async fn answer(&self, request: Request<Incoming>, limit: Duration) -> Answer {
        let is_health = request.uri().path().starts_with(HEALTH);
        let called = async {
            match is_health {
                true => self.health.clone().call(request).await,
                false => self.gate.clone().call(request).await,
            }
        };
        tokio::select! {
            biased;
            Ok(response) = called => response.map(Either::Right),
            () = tokio::time::sleep(limit) => {
                self.shared.metrics.door(Door::Grpc).fault("timeout");
                let message = "the message did not end within door.frame_timeout_ms";
                Status::deadline_exceeded(message).into_http().map(Either::Right)
            }
        }
    }

    /// Keeps the health service true to the sidecar's readiness.
    pub(crate) async fn report_health(&self) {
        loop {
            let status = match self.shared.unready().is_empty() {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            self.reporter.set_service_status("", status).await;
            self.reporter.set_service_status(GATE, status).await;
            tokio::time::sleep(HEALTH_INTERVAL).await;
        }
    }
}

/// The Gate service over the sidecar's table.
struct Answers {
    shared: Arc<Shared>,
}

impl Answers {
    fn invalid(&self, fault: &Fault) -> Status {
        self.shared.metrics.door(Door::Grpc).fault(fault.code.name());
        Status::invalid_argument(fault.message.clone())
    }

    fn decide<'b>(&self, items: impl Iterator<Item = Item<'b>>) -> Vec<CheckResponse> {
        let mut decider = self.shared.decider(Door::Grpc);
        let mut scratch = Scratch::default();
        let mut answers = Vec::new();
        for Item { request, semantic } in items {
            let answer = match request {
                Ok(request) => request.with(|request| {
                    decider.decide(request, &mut scratch, "", |state, decision, id| {
                        CheckResponse::from(DecisionBody::of(state, decision, id))
                    })
                }),
                Err(fault) => CheckResponse::from(&fault),
            };
            let is_last = semantic.ends_after(answer.decision);
            answers.push(answer);
            if is_last {
                break;
            }
        }
        answers
    }
}

/// One item of a batch.
struct Item<'b> {
    request: Result<OwnedRequest<'b>, Fault>,
    semantic: Semantic,
}

#[tonic::async_trait]
impl Gate for Answers {
    async fn check(
        &self,
        request: tonic::Request<CheckRequest>,
    ) -> Result<tonic::Response<CheckResponse>, Status> {
        let asked = request.get_ref().request(tenant(request.metadata().as_ref()));
        let request = asked.map_err(|fault| self.invalid(&fault))?;
        let item = Item { request: Ok(request), semantic: Semantic::default() };
        let answer = self.decide(std::iter::once(item)).pop();
        Ok(tonic::Response::new(answer.unwrap_or_default()))
    }

    async fn batch_check(
        &self,
        request: tonic::Request<BatchCheckRequest>,
    ) -> Result<tonic::Response<BatchCheckResponse>, Status> {
        let asked = request.get_ref().requests(tenant(request.metadata().as_ref()));
        let (items, semantic) = match asked.map_err(|fault| self.invalid(&fault))? {
            Asked::One(request) => (vec![Ok(request)], Semantic::default()),
            Asked::Many { items, semantic } => (items, semantic),
        };
        let items = items.into_iter().map(|request| Item { request, semantic });
        Ok(tonic::Response::new(BatchCheckResponse { evaluations: self.decide(items) }))
    }

    async fn settle(
        &self,
        request: tonic::Request<SettleRequest>,
    ) -> Result<tonic::Response<SettleResponse>, Status> {
        let asked = request.get_ref().settle().map_err(|fault| self.invalid(&fault))?;
        let (settlement, written) = self.shared.settle(&asked);
        let settlement = self.shared.settled(settlement, written.wait().await);
        let (code, message) = (settlement.code, what_to_do(settlement.code));
        if !code.is_settled() {
            self.shared.metrics.door(Door::Grpc).fault(code.name());
        }
        match code {
            SettleCode::UnknownReservation => Err(Status::not_found(message)),
            SettleCode::UnknownMeter => Err(Status::invalid_argument(message)),
            SettleCode::Busy => Err(Status::unavailable(message)),
            _ => Ok(tonic::Response::new(settlement.into())),
        }
    }
}
