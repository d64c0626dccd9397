//! Compiles the services without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "proto/kubelet/deviceplugin.proto",
        "proto/kubelet/podresources.proto",
        "proto/kubevirt/info.proto",
        "proto/kubevirt/v1alpha3.proto",
    ];
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
