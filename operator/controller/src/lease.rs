//! One replica works at a time: who holds the Lease.
//!
//! As client-go does it (`tools/leaderelection`): a lease is free once it has not been renewed for
//! its own duration, by the clock of the replica that looks, from when it saw the last renewal.
//! Clocks of two machines are never compared. The holder stops if it could not renew in time.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use crate::apply::FIELD_MANAGER;

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// After this long without a renewal others may take the lease.
    pub duration: Duration,
    /// After this long without a renewal the holder stops.
    pub renew: Duration,
    /// Between two tries.
    pub retry: Duration,
}

/// Why the lease is no longer held.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// Another replica has it.
    #[error("{0} has taken the lease")]
    Taken(String),
    /// It could not be renewed in time.
    #[error("the lease could not be renewed for {0:?}")]
    NotRenewed(Duration),
}

/// A replica, as a candidate.
#[derive(Debug)]
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    /// The lease as last seen, and since when it has been so.
    seen: Option<(LeaseSpec, Instant)>,
}

/// What became of a try.
#[derive(Debug, PartialEq, Eq)]
enum Try {
    Held,
    HeldBy(String),
    Raced,
}

impl Candidate {
    /// A candidate for the lease `name`. `identity` tells it from others.
    pub fn new(leases: Api<Lease>, name: String, identity: String, timing: Timing) -> Self {
        Self { leases, name, identity, timing, seen: None }
    }

    /// Until the lease is ours.
    pub async fn acquire(&mut self) {
        let mut holder = None;
        loop {
            match timeout(self.timing.renew, self.attempt()).await {
                Ok(Ok(Try::Held)) => break,
                Ok(Ok(Try::HeldBy(other))) if holder.as_ref() != Some(&other) => {
                    info!(lease = self.name, holder = other, "another replica leads, stands by");
                    holder = Some(other);
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => warn!(lease = self.name, error = %error, "get the lease"),
                Err(_) => warn!(lease = self.name, "no answer about the lease"),
            }
            sleep(self.timing.retry).await;
        }
        info!(lease = self.name, identity = self.identity, "leads");
    }

    /// Renews the lease until it is lost.
    pub async fn hold(&mut self) -> Lost {
        let mut renewed = Instant::now();
        loop {
            sleep(self.timing.retry).await;
            let left = self.timing.renew.saturating_sub(renewed.elapsed());
            match timeout(left, self.attempt()).await {
                Ok(Ok(Try::Held)) => renewed = Instant::now(),
                Ok(Ok(Try::HeldBy(other))) => return Lost::Taken(other),
                Ok(Ok(Try::Raced)) => debug!(lease = self.name, "the lease changed meanwhile"),
                Ok(Err(error)) => warn!(lease = self.name, error = %error, "renew the lease"),
                Err(_) => {}
            }
            if renewed.elapsed() >= self.timing.renew {
                return Lost::NotRenewed(self.timing.renew);
            }
        }
    }

    /// Gives the lease back, so that the next replica need not wait for it to run out.
    pub async fn release(&mut self) {
        let release = async {
            let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
                self.leases.replace(&self.name, &parameters(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match timeout(self.timing.retry, release).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(lease = self.name, error = %error, "release the lease"),
            Err(_) => warn!(lease = self.name, "no answer about the lease"),
        }
    }

    /// Takes or renews the lease if that is allowed. A lease that changes at the same time is
    /// told by its resource version.
    async fn attempt(&mut self) -> Result<Try, kube::Error> {
        let written = match self.leases.get_opt(&self.name).await? {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..Default::default() };
                let lease = Lease { metadata, spec: Some(self.spec(None)) };
                self.leases.create(&parameters(), &lease).await
            }
            Some(mut lease) => {
                let spec = lease.spec.take().unwrap_or_default();
                if let Some(other) = self.held_by_other(&spec) {
                    return Ok(Try::HeldBy(other));
                }
                lease.spec = Some(self.spec(Some(&spec)));
                self.leases.replace(&self.name, &parameters(), &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.seen = lease.spec.map(|spec| (spec, Instant::now()));
                Ok(Try::Held)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Try::Raced),
            Err(error) => Err(error),
        }
    }

    /// Who holds the lease, if it is not free for us.
    fn held_by_other(&mut self, spec: &LeaseSpec) -> Option<String> {
        let since = match &self.seen {
            Some((seen, since)) if seen == spec => *since,
            _ => Instant::now(),
        };
        self.seen = Some((spec.clone(), since));
        let holder = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let duration = seconds.map_or(self.timing.duration, Duration::from_secs);
        (holder != self.identity && since.elapsed() < duration).then_some(holder)
    }

    /// The lease as ours.
    fn spec(&self, old: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let ours = old.filter(|old| old.holder_identity.as_deref() == Some(&self.identity));
        let transitions = old.and_then(|old| old.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.timing.duration.as_secs()).ok(),
            acquire_time: ours
                .and_then(|ours| ours.acquire_time.clone())
                .or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(match (old, ours) {
                (Some(_), None) => transitions.saturating_add(1),
                _ => transitions,
            }),
            ..LeaseSpec::default()
        }
    }
}

fn parameters() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.into()), ..PostParams::default() }
}
