//! Carries a list of writes out.

use futures_util::StreamExt as _;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Client, Resource, ResourceExt as _};
use ringway_api::node_devices::NodeDevices;
use ringway_api::{DeviceNetwork, DevicePolicy, NodeDevicesSpec};
use serde_json::{Value, json};
use tracing::{info, warn};

use crate::networks;
use crate::render::same;
use crate::writes::Write;

/// Who owns the fields that we write.
pub const FIELD_MANAGER: &str = "ringway-operator";

/// The most requests at a time: a thousand nodes must not flood the API server.
const AT_A_TIME: usize = 8;

/// A write that the API server refused, or never got.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: String,
    source: kube::Error,
}

/// Carries all of them out, whatever becomes of each; says how many failed.
pub async fn apply_all(client: &Client, writes: Vec<Write>) -> usize {
    let results = futures_util::stream::iter(writes)
        .map(|write| async move { apply(client, &write).await })
        .buffer_unordered(AT_A_TIME);
    results
        .filter_map(|result| async { result.err() })
        .inspect(|error| {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            warn!(object = error.object, error = cause, "{} failed", error.operation);
        })
        .count()
        .await
}

/// Carries one out.
pub async fn apply(client: &Client, write: &Write) -> Result<(), Error> {
    match write {
        Write::Spec { node, uid, spec } => apply_spec(client, node, uid.as_deref(), spec).await,
        Write::PolicyStatus { name, status } => {
            let api: Api<DevicePolicy> = Api::all(client.clone());
            apply_status(&api, name, json!(status)).await
        }
        Write::NetworkStatus { namespace, name, status } => {
            let api: Api<DeviceNetwork> = Api::namespaced(client.clone(), namespace);
            apply_status(&api, name, json!(status)).await
        }
        Write::CreateDefinition(object) => create_definition(client, object).await,
        Write::RepairDefinition(object) => repair_definition(client, object).await,
    }
}

async fn apply_spec(
    client: &Client,
    node: &str,
    uid: Option<&str>,
    spec: &NodeDevicesSpec,
) -> Result<(), Error> {
    let failed = |source| Error {
        operation: "apply the spec of NodeDevices",
        object: node.to_owned(),
        source,
    };
    let api: Api<NodeDevices> = Api::all(client.clone());
    // an apply that names a uid never creates
    let wanted = body::<NodeDevices>(json!({"name": node, "uid": uid}), "spec", json!(spec));
    let force = PatchParams::apply(FIELD_MANAGER).force();
    let is = api.patch(node, &force, &Patch::Apply(&wanted)).await.map_err(failed)?;
    info!(node, parents = spec.parents.len(), "spec applied");
    if same(&is.spec, spec) {
        return Ok(());
    }
    // server-side apply leaves what another manager put into the list; a merge replaces the list
    warn!(node, "somebody else wrote into the spec: put right");
    let whole = json!({"metadata": {"uid": uid}, "spec": {"parents": spec.parents}});
    let manager = PatchParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    api.patch(node, &manager, &Patch::Merge(&whole)).await.map_err(failed)?;
    Ok(())
}

async fn apply_status<K>(api: &Api<K>, name: &str, status: Value) -> Result<(), Error>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let body = body::<K>(json!({"name": name}), "status", status);
    let force = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(name, &force, &Patch::Apply(&body)).await {
        Ok(_) => Ok(()),
        // deleted meanwhile
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(Error {
            operation: "apply the status of",
            object: format!("{} {name}", K::kind(&())),
            source,
        }),
    }
}

async fn create_definition(client: &Client, object: &DynamicObject) -> Result<(), Error> {
    let manager = PostParams { field_manager: Some(FIELD_MANAGER.into()), ..Default::default() };
    match definitions(client, object).create(&manager, object).await {
        Ok(_) => info!(network = described(object), "NetworkAttachmentDefinition created"),
        // whose it is, its watch will tell
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {}
        Err(source) => {
            let operation = "create NetworkAttachmentDefinition";
            return Err(Error { operation, object: described(object), source });
        }
    }
    Ok(())
}

async fn repair_definition(client: &Client, object: &DynamicObject) -> Result<(), Error> {
    let force = PatchParams::apply(FIELD_MANAGER).force();
    let api = definitions(client, object);
    api.patch(&object.name_any(), &force, &Patch::Apply(object)).await.map_err(|source| {
        let operation = "repair NetworkAttachmentDefinition";
        Error { operation, object: described(object), source }
    })?;
    info!(network = described(object), "NetworkAttachmentDefinition repaired");
    Ok(())
}

fn definitions(client: &Client, object: &DynamicObject) -> Api<DynamicObject> {
    let namespace = object.namespace().unwrap_or_default();
    Api::namespaced_with(client.clone(), &namespace, &networks::definitions())
}

fn described(object: &DynamicObject) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}

fn body<K: Resource<DynamicType = ()>>(metadata: Value, part: &str, value: Value) -> Value {
    json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": metadata,
        part: value,
    })
}
