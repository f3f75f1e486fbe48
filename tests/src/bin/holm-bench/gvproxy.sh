# gvproxy and its forwarder as the folder $1, built where it is not there yet.
programs=$1 module=github.com/containers/gvisor-tap-vsock version=v0.8.9
command -v go >/dev/null || { echo "go is not installed: type \`.ci/deps bench\`" >&2; exit 1; }
echo "building gvproxy $version in $programs: a minute, once" >&2
folder=$(mktemp -d "$programs.XXXXXX")
trap 'rm -rf "$folder"' EXIT
# Outside of any module, so that its own go.sum and nothing else decides about what it needs.
(cd / && GOBIN=$folder/bin CGO_ENABLED=0 go install "$module/cmd/gvproxy@$version" "$module/cmd/vm@$version") >&2 ||
    { echo "gvproxy is not built: it needs Go 1.25, this is $(go env GOVERSION)" >&2; exit 1; }
mv --no-target-directory "$folder/bin" "$programs"
