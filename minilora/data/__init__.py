"""Text that every Python already has, tasks with exact scores, the user's own files, and their batches."""

from typing import TYPE_CHECKING

from minilora.data.batches import (
    SEPARATOR,
    LMBatch,
    encode_documents,
    encode_example,
    pair_batch,
    window_batch,
    windows,
)
from minilora.data.chat_template import ChatTemplate, Message, PlainTemplate, Template
from minilora.data.classification import (
    CLASSIFICATION_TASKS,
    ClassificationBatch,
    ClassificationTask,
    has_classes,
    load_classification_task,
)
from minilora.data.conversation_rows import chat_prompt, conversation_rows, template_for
from minilora.data.conversation_task import ConversationTask, conversation_task
from minilora.data.conversations import Conversation, load_conversations
from minilora.data.corpora import Corpus, Document, load_corpus
from minilora.data.docstring_pairs import docstring_matches
from minilora.data.encoder_tokenizer import EncoderTokenizer, pad_rows
from minilora.data.episodes import EpisodeBatch, episode_batch
from minilora.data.example import Example, LabelledExample
from minilora.data.files import load_labelled_file, load_task_file, load_text_file
from minilora.data.function_packages import packages_of_functions
from minilora.data.masked import MaskedBatch, encode_text_rows, masked_window_batch, masked_windows
from minilora.data.mini_e2e import examples, parse_source, realise, references, source_text
from minilora.data.mini_e2e_grammar import SLOTS
from minilora.data.mini_e2e_parser import Parsed, SlotErrors, parse, slot_errors
from minilora.data.packing import deal_rows, pack_batch
from minilora.data.pairs import Pair, load_pairs
from minilora.data.splits import corpus_id, split_of
from minilora.data.tasks import TASKS, PairTask, TextTask, load_task, text_task
from minilora.data.text_stream import TextStream
from minilora.data.tokenizer import EOT, ByteTokenizer
from minilora.data.unicode_names import CATEGORIES, character_names, names_by_first_word, names_by_hash
from minilora.data.vocabulary import Tokenizer, check_vocabulary
from minilora.moved import names_before

__all__ = [
    "EOT",
    "SEPARATOR",
    "ByteTokenizer",
    "Tokenizer",
    "TextStream",
    "check_vocabulary",
    "Corpus",
    "Document",
    "load_corpus",
    "load_text_file",
    "corpus_id",
    "split_of",
    "Example",
    "load_task_file",
    "Pair",
    "load_pairs",
    "SLOTS",
    "examples",
    "references",
    "source_text",
    "parse_source",
    "realise",
    "TASKS",
    "PairTask",
    "TextTask",
    "load_task",
    "text_task",
    "Parsed",
    "SlotErrors",
    "parse",
    "slot_errors",
    "EncoderTokenizer",
    "pad_rows",
    "LabelledExample",
    "ClassificationBatch",
    "CATEGORIES",
    "character_names",
    "names_by_hash",
    "names_by_first_word",
    "docstring_matches",
    "packages_of_functions",
    "CLASSIFICATION_TASKS",
    "ClassificationTask",
    "has_classes",
    "load_classification_task",
    "load_labelled_file",
    "MaskedBatch",
    "encode_text_rows",
    "masked_window_batch",
    "masked_windows",
    "LMBatch",
    "EpisodeBatch",
    "episode_batch",
    "encode_documents",
    "encode_example",
    "window_batch",
    "windows",
    "pair_batch",
    "deal_rows",
    "pack_batch",
    "ChatTemplate",
    "PlainTemplate",
    "Template",
    "Message",
    "template_for",
    "chat_prompt",
    "Conversation",
    "load_conversations",
    "conversation_rows",
    "ConversationTask",
    "conversation_task",
]

if not TYPE_CHECKING:
    __getattr__ = names_before(__name__)
