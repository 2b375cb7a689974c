#!/bin/sh
# Checks the answers in FOLDER, and writes OUT/feedback.md and OUT/feedback.json:
#
#   sh check.sh                                  # exercises/ and feedback/ beside this file
#   sh check.sh CLONE/exercises FEEDBACK         # a teacher, with check.sh from elsewhere than the clone
#
# Python runs isolated (-I): modules and settings that lie in the repository, or in the environment, are not taken.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-"$here/exercises"}
out=${2:-"$here/feedback"}
python=${PYTHON:-python3}

if ! "$python" -I -c 'import minilora' 2>/dev/null; then
    environment=$(mktemp -d)
    "$python" -I -m venv "$environment"
    python=$environment/bin/python
    (cd "$here" && "$python" -I -m pip install --quiet --requirement requirements.txt)
fi

status=0
"$python" -I -m minilora course check "$folder" --out "$out" || status=$?
if [ -n "${GITHUB_STEP_SUMMARY:-}" ] && [ "$status" -le 1 ]; then # it was written just now
    cat "$out/feedback.md" >>"$GITHUB_STEP_SUMMARY"
fi
exit "$status"
