"""Why did the model say that, and can the answer be trusted?"""
