#!/usr/bin/env bash
# Open a pull request with a baseline file that a runner recorded.
# usage: propose-baselines.sh FOLDER   with `baseline.toml` and `baselines.diff` in it, and
# HW, MODE, BASE (branch), COMMIT (its tip when it was measured), RUN_ID and GH_REPO set
set -euo pipefail
# shellcheck source=common.sh
source "$(dirname "$0")/common.sh"

folder=$1
require_key "$HW"
path="baselines/$HW.toml"
branch="energy/baselines-$HW-$RUN_ID"
message="Record baselines of $HW ($MODE)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

known=$(gh api "repos/$GH_REPO/contents/$path?ref=$COMMIT" --jq .sha 2> /dev/null || true)
python3 - "$folder/baseline.toml" "$HW" "$branch" "$message" "$known" > "$work/commit.json" << 'PYTHON'
import base64, json, sys
try:
    import tomllib
except ImportError:
    import tomli as tomllib

path, key, branch, message, known = sys.argv[1:]
content = open(path, "rb").read()
table = tomllib.loads(content.decode())
if not isinstance(table.get("schema"), int) or table.get("hardware", {}).get("key") != key:
    sys.exit(f"`{path}` is no baseline file of `{key}`; nothing is proposed")
commit = {"branch": branch, "message": message, "content": base64.b64encode(content).decode()}
print(json.dumps({**commit, "sha": known} if known else commit))
PYTHON
{
  echo "Recorded by hand on \`$HW\` at $COMMIT. Read the figures before you merge: they decide what is a regression."
  echo
  fenced "$folder/baselines.diff" diff
} > "$work/body.md"

gh api --silent "repos/$GH_REPO/git/refs" -f "ref=refs/heads/$branch" -f "sha=$COMMIT"
gh api --silent --method PUT "repos/$GH_REPO/contents/$path" --input "$work/commit.json"
gh pr create --base "$BASE" --head "$branch" --title "$message" --body-file "$work/body.md"
