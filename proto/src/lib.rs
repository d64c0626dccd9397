//! gRPC services of kubelet and KubeVirt that Ringway speaks: messages, clients and servers, made
//! at build time from the files in `proto/`.
//!
//! Neither transport nor Kubernetes logic is here. Both sides of each service are made, because a
//! test plays the other side; what a binary does not use, its link leaves out.

/// Kubelet's services.
pub mod kubelet {
    /// The device plugin service, on both sides of the sockets in kubelet's `device-plugins`
    /// directory (`k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1`).
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod deviceplugin {
        tonic::include_proto!("v1beta1");

        /// What a plugin says in `RegisterRequest.version`.
        pub const VERSION: &str = "v1beta1";
        /// `Device.health` of a device that may be handed out.
        pub const HEALTHY: &str = "Healthy";
        /// `Device.health` of a device that may not.
        pub const UNHEALTHY: &str = "Unhealthy";
    }

    /// The pod resources service (`k8s.io/kubelet/pkg/apis/podresources/v1`).
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod podresources {
        tonic::include_proto!("v1");
    }
}

/// KubeVirt's hook services, served by a sidecar of virt-launcher (`kubevirt/pkg/hooks`).
pub mod kubevirt {
    /// What a hook can do.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod info {
        tonic::include_proto!("kubevirt.hooks.info");
    }

    /// The calls to a hook, version v1alpha3.
    #[allow(missing_docs, unreachable_pub, clippy::all)]
    pub mod v1alpha3 {
        tonic::include_proto!("kubevirt.hooks.v1alpha3");

        /// What a hook lists in `InfoResult.versions` to be called by this version.
        pub const VERSION: &str = "v1alpha3";
    }
}

#[cfg(test)]
mod tests;
