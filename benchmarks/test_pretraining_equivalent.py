"""Claim: pre-training BERT costs as much as hundreds (MNLI) to ten thousands (RTE) of fine-tunings.

"""
