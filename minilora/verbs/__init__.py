"""What the command line does, one function for each verb; each takes the options that `arguments.parse` found."""

from minilora.verbs.exchanging import export_peft, import_peft
from minilora.verbs.exercises import exercises
from minilora.verbs.looking import rank, subspace
from minilora.verbs.measuring import bench, count
from minilora.verbs.reproducing import reproduce
from minilora.verbs.training import demo, finetune, pretrain
from minilora.verbs.using import evaluate, generate, merge

VERBS = {
    "demo": demo,
    "pretrain": pretrain,
    "finetune": finetune,
    "evaluate": evaluate,
    "generate": generate,
    "merge": merge,
    "bench": bench,
    "import-peft": import_peft,
    "export-peft": export_peft,
    "count": count,
    "reproduce": reproduce,
    "exercises": exercises,
    "rank": rank,
    "subspace": subspace,
}
SHARED = ("pretrain", "finetune", "reproduce")  # those whose work several ranks can share
