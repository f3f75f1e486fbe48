# What node finds when a program asks for dockerode, as the folder $1 that is made where it is not there yet. $2 and $3
# are the texts of package.json and of the lock file that pins all of it.
modules=$1
echo "installing dockerode in $modules" >&2
folder=$(mktemp -d "$modules.XXXXXX")
trap 'rm -rf "$folder"' EXIT
printf %s "$2" >"$folder/package.json"
printf %s "$3" >"$folder/package-lock.json"
# What is optional speeds up ssh, by code that would be compiled here.
npm ci --prefix "$folder" --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error >&2
# Another test may have been faster.
mv --no-target-directory "$folder/node_modules" "$modules" || [ -d "$modules/dockerode" ]
