//! The definitions of our kinds as YAML, for `kubectl apply` and for the chart.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

/// A definition's file name: `devicepolicies.yaml`.
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}.yaml", definition.spec.names.plural)
}

/// A definition as the API server takes it.
pub fn yaml(definition: &CustomResourceDefinition) -> Result<String, serde_saphyr::SerializeError> {
    let options = serde_saphyr::ser_options! { compact_list_indent: true };
    serde_saphyr::to_string_with_options(definition, options)
}

/// All of them, as one stream of documents.
pub fn all() -> Result<String, serde_saphyr::SerializeError> {
    let documents: Result<Vec<String>, _> = ringway_api::definitions().iter().map(yaml).collect();
    Ok(documents?.join("---\n"))
}

/// The same inside the chart: kept when the chart is removed, since with a kind go its objects,
/// and with a policy go its devices.
pub fn chart_template(
    definition: &CustomResourceDefinition,
) -> Result<String, serde_saphyr::SerializeError> {
    let mut kept = definition.clone();
    let annotations = kept.metadata.annotations.get_or_insert_default();
    annotations.insert("helm.sh/resource-policy".into(), "keep".into());
    // text that looks like a template is escaped
    let text = yaml(&kept)?.replace("{{", "{{ \"{{\" }}");
    Ok(format!("{{{{- if .Values.crds.install }}}}\n{text}{{{{- end }}}}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        for definition in ringway_api::definitions() {
            let text = yaml(&definition).unwrap();
            let back: CustomResourceDefinition = serde_saphyr::from_str(&text).unwrap();
            assert_eq!(back, definition);
        }
        assert_eq!(all().unwrap().matches("kind: CustomResourceDefinition").count(), 3);
    }

    #[test]
    fn the_chart_keeps_them() {
        let text = chart_template(&ringway_api::definitions()[0]).unwrap();
        assert!(text.contains("helm.sh/resource-policy: keep"), "{text}");
        assert!(
            text.starts_with("{{- if .Values.crds.install }}\n") && text.ends_with("{{- end }}\n")
        );
    }
}
