# The files of Debian's package $2 and of all that it needs as the tar $1, its folder a cache that lasts.
tar=$1 package=$2
echo "making an image of Debian's $package" >&2
folder=$(mktemp -d "$tar.XXXXXX")
trap 'rm -rf "$folder"' EXIT
# Documents and translations are half of it, and nobody reads them here; the compiler of PostgreSQL's queries is
# half of the rest.
mmdebstrap --quiet --variant=extract --include="$package,busybox-static,netbase" \
    --dpkgopt='path-exclude=/usr/share/{doc,man,locale,i18n,info}/*' \
    bookworm "$folder/root" http://deb.debian.org/debian >&2
cd "$folder/root"
rm -rf usr/share/{doc,man,locale,i18n,info,perl,perl5} usr/lib/x86_64-linux-gnu/{perl,perl-base,libLLVM*,libz3*} \
    usr/lib/llvm-* usr/lib/postgresql/*/lib/bitcode var/cache var/lib/apt var/log dev
mkdir -p bin usr/bin tmp dev proc sys run var/log
chmod 1777 tmp
# One program for all that a shell script needs; what a package brought by itself stays.
for applet in $(bin/busybox --list); do
    [ -e "bin/$applet" ] || [ -e "usr/bin/$applet" ] || ln -s /bin/busybox "bin/$applet"
done
cat >etc/passwd <<END
root:x:0:0:root:/root:/bin/sh
www-data:x:33:33::/var/www:/bin/sh
postgres:x:70:70::/var/lib/postgresql:/bin/sh
redis:x:71:71::/var/lib/redis:/bin/sh
END
printf 'root:x:0:\nwww-data:x:33:\npostgres:x:70:\nredis:x:71:\n' >etc/group
tar --create --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --file "$folder/tar" .
mv "$folder/tar" "$tar"
