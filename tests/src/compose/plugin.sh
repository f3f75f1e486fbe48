# The real `docker compose`, Debian's package, as a plugin of the docker command. $1 is the file it is to be, made
# where it is not there yet; its folder is a cache that lasts.
plugin=$1
# Debian's releases later than this computer's have the version of today.
suite=forky
[ -x "$plugin" ] && exit 0
echo "fetching docker compose of Debian $suite" >&2
folder=$(mktemp -d "$plugin.XXXXXX")
trap 'rm -rf "$folder"' EXIT
mkdir -p "$folder"/{lists/partial,archives/partial,etc}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] http://deb.debian.org/debian $suite main" >"$folder/etc/sources"
# Lists of its own, so that this computer's stay as they are.
options=(-o Dir::Etc::SourceList="$folder/etc/sources" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::State::Lists="$folder/lists" -o Dir::Cache::Archives="$folder/archives"
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Dir::State::status=/dev/null
    -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none)
apt-get "${options[@]}" --quiet=2 update >&2
(cd "$folder" && apt-get "${options[@]}" --quiet=2 download docker-compose >&2)
dpkg-deb --extract "$folder"/docker-compose_*.deb "$folder/unpacked"
install -m 755 "$folder/unpacked/usr/libexec/docker/cli-plugins/docker-compose" "$folder/docker-compose"
mv "$folder/docker-compose" "$plugin"
