#!/usr/bin/env bash
# Keep one comment a pull request on what its energy check found; none if all was within.
# usage: gate-comment.sh NUMBER BODY   BODY: a file that `pytest-energy comment` wrote, empty if all
# is within; GH_REPO and GH_TOKEN are set
set -euo pipefail

number=$1 body=$2
if [[ ! "$number" =~ ^[0-9]+$ ]]; then
  echo "\`$number\` is no number of a pull request" >&2
  exit 4
fi
marker="<!-- pytest-energy -->"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Only a comment of the job's own is taken for it: others may hold the marker as well.
known=$(gh api --paginate "repos/$GH_REPO/issues/$number/comments?per_page=100" \
  --jq ".[] | select(.user.login == \"github-actions[bot]\" and (.body | startswith(\"$marker\"))) | .id" \
  | head -n 1)
if [ ! -s "$body" ]; then
  if [ -z "$known" ]; then exit 0; fi
  echo "Every figure is within what is allowed again." > "$work/text"
else
  cp "$body" "$work/text"
fi
python3 - "$marker" "$work/text" > "$work/comment.json" << 'PYTHON'
import json, sys
marker, path = sys.argv[1:]
with open(path, encoding="utf-8", errors="replace") as text:
    json.dump({"body": f"{marker}\n{text.read(60_000)}"}, sys.stdout)
PYTHON
if [ -n "$known" ]; then
  gh api --method PATCH "repos/$GH_REPO/issues/comments/$known" --input "$work/comment.json" > /dev/null
else
  gh api --method POST "repos/$GH_REPO/issues/$number/comments" --input "$work/comment.json" > /dev/null
fi
