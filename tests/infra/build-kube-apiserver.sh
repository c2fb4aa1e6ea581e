#!/usr/bin/env bash
# Builds the kube-apiserver 1.20.2 of Debian 12's source package "kubernetes", for the tests that
# want a real API server. The package carries all its Go dependencies, so that apt alone is needed.
#
#   tests/infra/build-kube-apiserver.sh WORK_DIR BINARY
#   NAVARCH_KUBE_APISERVER=BINARY make test
#
# Needs: golang-go dpkg-dev rsync jq make golang-github-modern-go-reflect2-dev (and etcd-server to
# run the result). Takes 5 minutes of CPU, 2.2 GB in WORK_DIR meanwhile; the binary has 110 MB.
# The machine's own apt configuration is read, copied to WORK_DIR with source packages switched on,
# and left as it is.
set -euo pipefail
usage="usage: $0 WORK_DIR BINARY"
work=$(realpath -m "${1:?$usage}")
binary=$(realpath -m "${2:?$usage}")
if [ -x "$binary" ]; then
  echo "$binary is there already"
  exit 0
fi

apt=$work/apt
mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$(dirname "$binary")"
cp -r /etc/apt "$apt/etc"
rm -rf "$apt/etc/sources.list" "$apt/etc/sources.list.d"
mkdir "$apt/etc/sources.list.d"
sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources \
  > "$apt/etc/sources.list.d/sources.sources"
options=(-qq -o "Dir::Etc=$apt/etc" -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache")
apt-get "${options[@]}" update
cd "$work"
rm -rf kubernetes-*/
apt-get "${options[@]}" source kubernetes
cd kubernetes-*/

# The reflect2 that it carries crashes under Go 1.18 and later at the first custom resource;
# Debian's own package of it does not.
rm -rf vendor/github.com/modern-go/reflect2
cp -rL /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/

mkdir -p .go/src/k8s.io
ln -sfn ../../.. .go/src/k8s.io/kubernetes
export GOPATH=$PWD/.go GOCACHE=$work/go-cache GOPROXY=off CGO_ENABLED=0
export KUBE_GIT_VERSION=v1.20.2 KUBE_GIT_MAJOR=1 KUBE_GIT_MINOR=20
export KUBE_GIT_COMMIT=debian KUBE_GIT_TREE_STATE=clean
make WHAT=cmd/kube-apiserver
install -m 755 "_output/local/bin/linux/$(go env GOARCH)/kube-apiserver" "$binary"
rm -rf "$work"/kubernetes-*/_output "$work/go-cache"
"$binary" --version
